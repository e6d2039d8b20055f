"""Cues that distinguish an object from a chance region, without having seen any object.

Legend: H, W image size, K superpixels, E pairs of touching superpixels, n regions, T trees.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .merging import MergeTree


@dataclass(frozen=True)
class SuperpixelGraph:
    """One label map, and what its regions are judged by.

    Attributes:
        label_map (ndarray): (H, W) labels 0 .. K - 1.
        pairs (ndarray): (E, 2) labels that touch.
        length (ndarray): (E,) length of their common boundary, in pixels.
        strength (ndarray): (E,) sum of the edge strength along it.
        color (ndarray): (K, B) color histograms with sum 1.
    """
    label_map: np.ndarray
    pairs: np.ndarray
    length: np.ndarray
    strength: np.ndarray
    color: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """Number of pixels of each label, (K,)."""
        return np.bincount(self.label_map.ravel(), minlength=len(self.color)).astype(np.float64)

    @property
    def border(self) -> np.ndarray:
        """Number of pixels of each label on the border of the image, (K,)."""
        x = self.label_map
        return np.bincount(np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]), minlength=len(self.color))


def region_cues(graph: SuperpixelGraph, tree: MergeTree, regions: np.ndarray,
                membership: np.ndarray) -> dict[str, np.ndarray]:
    """Compute cues for regions of one tree; higher values always speak for an object.

    Args:
        graph (SuperpixelGraph): the superpixels.
        tree (MergeTree): the tree.
        regions (ndarray): (n,) regions of the tree.
        membership (ndarray): bool (n, K), their superpixels.

    Returns:
        dict: name -> (n,) floats. ``order``: when the region was made, as a share of the sequence of all regions (late
        ones are few and large). ``persistence``: the growth in dissimilarity that it withstands before it is merged
        into another. ``edge``: mean edge strength along its contour. ``contrast``: difference of its colors from those
        of the superpixels around it. ``compact``: 4 pi area / perimeter². ``fill``: the share of its box that it fills.
        ``inner``: the share of its perimeter that is not on the image's border.
    """
    a, b = membership[:, graph.pairs[:, 0]], membership[:, graph.pairs[:, 1]]
    cut = (a != b).astype(np.float32)
    perimeter = cut @ graph.length.astype(np.float32)
    table = membership.astype(np.float32)
    area = table @ graph.areas.astype(np.float32)
    border = table @ graph.border.astype(np.float32)
    until = np.where(tree.parents < 0, tree.height.max(), tree.height[tree.parents])
    return dict(
        order=regions / len(tree.height),
        persistence=(until - tree.height)[regions],
        edge=cut @ graph.strength.astype(np.float32) / np.maximum(perimeter, 1),
        contrast=_color_contrast(graph, table, area, cut, b),
        compact=4 * np.pi * area / np.maximum(perimeter + border, 1)**2,
        fill=area / _box_areas(graph.label_map, membership),
        inner=perimeter / np.maximum(perimeter + border, 1))


def _color_contrast(graph: SuperpixelGraph, table: np.ndarray, area: np.ndarray, cut: np.ndarray,
                     second_inside: np.ndarray) -> np.ndarray:
    """Compute 1 - histogram intersection of a region and its ring, whose superpixels count by common boundary: (n,)."""
    color = graph.color.astype(np.float32)
    inside = (table * graph.areas.astype(np.float32)) @ color / np.maximum(area, 1)[:, None]
    weighted = cut * graph.length.astype(np.float32)
    ring = (weighted * second_inside) @ color[graph.pairs[:, 0]] + \
        (weighted * ~second_inside) @ color[graph.pairs[:, 1]]
    ring /= np.maximum(weighted.sum(1), 1)[:, None]
    return 1 - np.minimum(inside, ring).sum(1)


def _box_areas(label_map: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """Compute the area of each region's box in pixels: (n,)."""
    result = np.ones(len(membership))
    for lines in (label_map, label_map.T):
        present = np.zeros((len(lines), membership.shape[1]), np.float32)
        present[np.arange(len(lines))[:, None], lines] = 1
        hit = membership.astype(np.float32) @ present.T > 0
        result *= len(lines) - hit.argmax(1) - hit[:, ::-1].argmax(1)
    return result


def agreement_cues(iou: np.ndarray, tree_index: np.ndarray) -> dict[str, np.ndarray]:
    """Measure how far the trees agree on a region: chance regions are found once, objects again and again.

    Args:
        iou (ndarray): (n, n) IoU between all regions.
        tree_index (ndarray): (n,) tree that each region comes from; the regions of a tree are consecutive.

    Returns:
        dict: ``agreement``: best IoU with a region of each tree, averaged over the trees. ``density``: logarithm of the
        sum, over all regions, of IoU to the fourth power.
    """
    starts = np.flatnonzero(np.r_[True, np.diff(tree_index) != 0])
    best = np.maximum.reduceat(iou, starts, axis=1)
    squared = iou * iou
    return dict(agreement=best.mean(1), density=np.log(np.einsum('ij,ij->i', squared, squared)))
