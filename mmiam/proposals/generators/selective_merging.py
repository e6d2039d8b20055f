"""The built-in generator: Felzenszwalb superpixels, merged hierarchically, regions kept as memberships.

Legend: H, W image size, L settings (= levels), K superpixels of a level.

No learning of any kind: no mask, box or label was seen.
"""
from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..container import SegmentProposals
from .features import colour_bins, convert_colour, edge_strength, texture_bins
from .merging import adjacency, merge_regions, region_stats

DEFAULT_SETTINGS = (('lab', 100), ('hsv', 100), ('lab', 50), ('hsv', 50))


@dataclass
class SelectiveMerging:
    """Makes segment proposals of an image.

    Attributes:
        settings (tuple): (colour space, Felzenszwalb scale) of each level.
        max_proposals (int): Most proposals of an image.
        min_area (float): Least share of the image that a proposal covers.

    Example:
        >>> proposals = SelectiveMerging()(image)  # image: uint8 RGB (H, W, 3)
    """
    settings: tuple[tuple[str, int], ...] = DEFAULT_SETTINGS
    max_proposals: int = 1500
    min_area: float = 5e-4

    def __call__(self, image: np.ndarray) -> SegmentProposals:
        """Proposals of a uint8 RGB image (H, W, 3), in order of rank."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'image must be uint8 (H, W, 3), got {image.dtype} {image.shape}')
        start = time.process_time()
        edges = edge_strength(image)
        maps, tables, scores = [], [], []
        for space, scale in self.settings:
            label_map, table, score = self._one_level(convert_colour(image, space), scale, edges)
            maps.append(label_map)
            tables.append(table)
            scores.append(score)
        proposals = SegmentProposals(maps, tables, np.concatenate(scores), 'mmiam selective merging')
        order = np.argsort(-proposals.scores, kind='stable')
        areas = proposals.areas()[order] / (proposals.size[0] * proposals.size[1])
        proposals = proposals.select(order[areas >= self.min_area][:self.max_proposals])
        proposals.seconds = time.process_time() - start
        return proposals

    def _one_level(self, image: np.ndarray, scale: int,
                   edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from skimage.segmentation import felzenszwalb
        label_map = felzenszwalb(image, scale=scale, sigma=0.8, min_size=max(scale // 2, 20))
        stats = region_stats(label_map, colour_bins(image), texture_bins(image))
        tree = merge_regions(stats, *adjacency(label_map, edges), dict(colour=1, texture=1, size=1, fill=1))
        order = tree.leaf_order()
        renamed = np.empty(len(order), np.int64)
        renamed[order] = np.arange(len(order))
        # the later a region was made, the more of an object it may hold: last merges first in every level
        num_regions = len(tree.height)
        score = np.arange(num_regions) - num_regions
        return renamed[label_map], tree.membership()[:, order], score
