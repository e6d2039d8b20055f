"""The built-in generator: several merging trees over a few superpixel maps, whose regions are ranked and thinned out.

Legend: H, W image size, L superpixel maps (= levels), K superpixels of a level, T trees, n regions.

It involves no learning: it has seen no mask, box or label. The settings below were compared on images of the training
split (docs/proposals.md says which).
"""
from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmiam.utils.images import read_image

from ..container import SegmentProposals
from .cues import SuperpixelGraph, agreement_cues, region_cues
from .features import color_bins, convert_color, edge_strength, texture_bins
from .merging import MergeTree, RegionStats, adjacency, merge_regions, region_stats
from .ranking import diverse_order, objectness

_ALL = dict(color=1, texture=1, size=1, fill=1)


@dataclass(frozen=True)
class Level:
    """One superpixel map and the trees over it.

    Attributes:
        space (str): color space in which superpixels are made.
        scale (int): Felzenszwalb's scale; larger values give larger superpixels.
        trees (tuple): (color space of the histograms, weights of the merging cues) of each tree.
    """
    space: str
    scale: int
    trees: tuple[tuple[str, dict[str, float]], ...]


# Trees with different cues find different objects: docs/proposals.md has the figures with fewer trees.
DEFAULT_LEVELS = (
    Level('lab', 50, (('hsv', dict(_ALL, edge=2)), ('lab', dict(_ALL, edge=2)), ('lab', dict(size=1, fill=1)),
                      ('lab', dict(size=1, edge=1)), ('hsv', dict(color=1, size=1, fill=1)))),
    Level('hsv', 100, (('lab', dict(_ALL, fill=2, edge=2)), ('hsv', dict(color=1, size=1, fill=1)),
                       ('lab', dict(texture=1, size=1, fill=1)))),
)


@dataclass
class SelectiveMerging:
    """Generator that makes ranked segment proposals of an image.

    Attributes:
        levels (tuple): superpixel maps and their trees.
        max_proposals (int): greatest number of proposals per image.
        area_range (tuple): share of the image that a proposal covers, at least the first and less than the second.
        duplicate_iou (float): a proposal whose IoU with a better one reaches this is dropped.
        pool_size (int): greatest number of regions that are compared with each other, the best ones by the cues of
            their own tree.
        work_pixels (int): an image with more pixels is first shrunk to about this number, and its proposals are
            enlarged again: a pixel takes about 480 bytes of memory, and the scales above were chosen for 500 x 375.

    Example:
        >>> proposals = SelectiveMerging()(image)  # image: uint8 RGB (H, W, 3)
    """
    levels: tuple[Level, ...] = DEFAULT_LEVELS
    max_proposals: int = 1500
    area_range: tuple[float, float] = (1e-3, 0.98)
    duplicate_iou: float = 0.95
    pool_size: int = 3000
    work_pixels: int = 2**20

    def __call__(self, image: np.ndarray) -> SegmentProposals:
        """Make the proposals of an RGB image, uint8 (H, W, 3), best first, with descending scores.

        Raises:
            ValueError: if the image has another type or shape.
            ImportError: if scikit-image is missing.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'image must be uint8 (H, W, 3), got {image.dtype} {image.shape}')
        start = time.process_time()
        size = image.shape[:2]
        shrink = min(1., (self.work_pixels / (size[0] * size[1]))**.5)
        if shrink < 1:
            sides = [max(1, int(side * shrink)) for side in size[::-1]]
            image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
        proposals = self._ranked(*self._pool(image)).resize(size)
        proposals.seconds = time.process_time() - start
        return proposals

    def write(self, source: Path, target: Path) -> None:
        """Write the proposals of an image file; :func:`mmiam.utils.jobs.run_jobs` calls this."""
        self(read_image(source)).save(target)

    def superpixels(self, image: np.ndarray, level: Level) -> np.ndarray:
        """Compute the superpixels of an RGB image for a level: int64 labels (H, W) from 0.

        Raises:
            ImportError: if scikit-image is missing.
        """
        try:
            from skimage.segmentation import felzenszwalb
        except ImportError:
            raise ImportError('the built-in proposal generator needs scikit-image: pip install scikit-image') from None
        return felzenszwalb(convert_color(image, level.space), scale=level.scale, sigma=0.8,
                            min_size=max(level.scale // 2, 20))

    def tree(self, stats: RegionStats, neighbors: tuple[np.ndarray, ...], weights: dict[str, float]) -> MergeTree:
        """Build a tree over the superpixels, given the ``neighbors`` from :func:`~.merging.adjacency`."""
        pairs, length, strength = neighbors
        return merge_regions(copy.copy(stats), pairs, length, strength, weights)

    def _pool(self, image: np.ndarray) -> tuple[SegmentProposals, dict[str, np.ndarray], np.ndarray]:
        """Collect the regions of all trees: unranked proposals, their cues and the index of their tree, (n,) each."""
        edges, texture = edge_strength(image), texture_bins(image)
        spaces = {space for level in self.levels for space, _ in level.trees}
        colors = {space: color_bins(convert_color(image, space)) for space in spaces}
        maps, tables, cues, tree_index = [], [], [], []
        for level in self.levels:
            label_map = self.superpixels(image, level)
            neighbors = adjacency(label_map, edges)
            stats = {space: region_stats(label_map, colors[space], texture) for space, _ in level.trees}
            level_tables = []
            for space, weights in level.trees:
                tree = self.tree(stats[space], neighbors, weights)
                if not level_tables:  # order superpixels as in the first tree, so that its regions are runs of ones
                    order = tree.leaf_order()
                graph = SuperpixelGraph(label_map, *neighbors, stats[space].color)
                regions, membership = self._regions(tree, graph)
                cues.append(region_cues(graph, tree, regions, membership))
                tree_index.append(np.full(len(regions), len(tree_index)))
                level_tables.append(membership[:, order])
            maps.append(np.argsort(order)[label_map])
            tables.append(np.concatenate(level_tables))
        pool = SegmentProposals(maps, tables, origin='mmiam selective merging')
        merged = {name: np.concatenate([c[name] for c in cues]) for name in cues[0]}
        return pool, merged, np.concatenate(tree_index)

    def _regions(self, tree: MergeTree, graph: SuperpixelGraph) -> tuple[np.ndarray, np.ndarray]:
        """Find the regions of allowed area that are not near-duplicates of their own parents, and their membership."""
        membership = tree.membership()
        areas = membership.astype(np.float32) @ graph.areas.astype(np.float32) / graph.label_map.size
        allowed = (areas >= self.area_range[0]) & (areas < self.area_range[1])
        parents = tree.parents  # the IoU of nested regions is the ratio of their areas
        duplicate = (parents >= 0) & allowed[parents] & (areas >= self.duplicate_iou * areas[parents])
        regions = np.flatnonzero(allowed & ~duplicate)
        return regions, membership[regions]

    def _ranked(self, pool: SegmentProposals, cues: dict[str, np.ndarray],
                tree_index: np.ndarray) -> SegmentProposals:
        if len(pool) > self.pool_size:
            own = objectness(dict(cues, agreement=np.zeros(len(pool)), density=np.zeros(len(pool))))
            kept = np.sort(np.argsort(-own, kind='stable')[:self.pool_size])
            pool, tree_index = pool.select(kept), tree_index[kept]
            cues = {name: values[kept] for name, values in cues.items()}
        if not len(pool):
            return pool
        iou = pool.pairwise_iou(dtype=np.float32)
        scores = objectness({**cues, **agreement_cues(iou, tree_index)})
        order, values = diverse_order(scores, iou, self.max_proposals, self.duplicate_iou)
        ranked = pool.select(order)
        ranked.scores = values
        return ranked
