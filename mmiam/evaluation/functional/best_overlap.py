"""Best overlap of ground truth with predictions: ABO.

Legend: G ground-truth instances of the whole data set, C classes.
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
