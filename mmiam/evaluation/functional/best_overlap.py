"""Best overlap of ground truth with predictions: ABO, and the best-threshold IoU of soft maps.

Legend: G ground-truth instances of the whole data set, C classes; P soft maps and m true masks of H x W
pixels in one image; K thresholds.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .voc_instance_ap import ImageOverlaps, nan_mean


@dataclass
class BestOverlap:
    """The best IoU of each ground-truth instance.

    Attributes:
        best (ndarray): Best IoU with a prediction of the same class, float64 (G,) in [0, 1]; 0 without one.
        labels (ndarray): Class of each instance, int64 (G,).
        num_classes (int): C.
    """
    best: np.ndarray
    labels: np.ndarray
    num_classes: int

    @property
    def per_class(self) -> np.ndarray:
        """Mean by class, float64 (C,), NaN where a class has no ground truth."""
        return np.array([self.best[self.labels == label].mean() if (self.labels == label).any() else np.nan
                         for label in range(self.num_classes)])

    @property
    def class_mean(self) -> float:
        """Mean over classes with ground truth: the ABO of the tables. NaN without any ground truth."""
        return nan_mean(self.per_class)

    @property
    def instance_mean(self) -> float:
        """Mean over instances. NaN without any ground truth."""
        return nan_mean(self.best)


def best_overlap(images: Sequence[ImageOverlaps], num_classes: int) -> BestOverlap:
    """ABO: for each ground truth, the highest IoU with any prediction of its class, whatever the score.

    The paper gives no formula; the mean of the best Jaccard per class is that of the segmentation-proposal
    benchmarks. That predictions must have the class right is our choice, because instances are compared here,
    not class-agnostic proposals.

    Args:
        images (Sequence[ImageOverlaps]): All images.
        num_classes (int): C.

    Returns:
        BestOverlap: Best IoUs, and their means.
    """
    best, labels = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for image in images:
        same = image.labels[:, None] == image.gt_labels[None]
        best.append(np.where(same, image.iou, 0.).max(axis=0, initial=0.))
        labels.append(image.gt_labels)
    return BestOverlap(np.concatenate(best), np.concatenate(labels), num_classes)


#: 0.01, 0.02, …, 0.99: the set of thresholds in (0, 1); the paper does not list its own
THRESHOLDS = np.linspace(.01, .99, 99)


def best_threshold_iou(maps: np.ndarray, masks: np.ndarray,
                       thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """max over theta of IoU(map >= theta, mask), for every pair (Sec. 4.2, Figs. 7 and 8).

    The paper takes the maximum over the true masks too: ``.max(axis=1)``, one value a map. ``.max(axis=0)``
    is one value a ground truth, as ABO's.

    Args:
        maps (ndarray): Soft maps in [0, 1], float (P, H, W).
        masks (ndarray): True masks, bool (m, H, W).
        thresholds (ndarray): Increasing thresholds, (K,).

    Returns:
        ndarray: Best IoU of each pair, float64 (P, m) in [0, 1].

    Raises:
        ValueError: if sizes differ, thresholds do not increase, or a map is not finite.
    """
    maps, masks = np.asarray(maps), np.asarray(masks, dtype=bool)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if maps.ndim != 3 or masks.ndim != 3 or maps.shape[1:] != masks.shape[1:]:
        raise ValueError(f'maps {maps.shape} and masks {masks.shape} must have shape (P, H, W) and (m, H, W)')
    if thresholds.ndim != 1 or len(thresholds) == 0 or (np.diff(thresholds) <= 0).any():
        raise ValueError('thresholds must increase')
    if not np.isfinite(maps).all():
        raise ValueError('a soft map holds NaN or infinity')
    best = np.zeros((len(maps), len(masks)))
    number = len(thresholds) + 1
    areas = masks.reshape(len(masks), -1).sum(1)
    for row, values in enumerate(maps):
        # level k: the pixel is inside for the first k thresholds
        levels = np.searchsorted(thresholds, values.ravel(), side='right')
        inside = np.bincount(levels, minlength=number)[::-1].cumsum()[::-1][1:]
        for column, mask in enumerate(masks):
            shared = np.bincount(levels[mask.ravel()], minlength=number)[::-1].cumsum()[::-1][1:]
            union = inside + areas[column] - shared
            best[row, column] = (shared / np.maximum(union, 1)).max()
    return best
