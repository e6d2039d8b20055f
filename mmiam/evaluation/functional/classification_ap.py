"""Average precision of image-level classification.

Legend: N images, C classes.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .voc_instance_ap import nan_mean


@dataclass
class ClassificationAP:
    """Average precision of each class.

    Attributes:
        ap (ndarray): AP, float64 (C,) in [0, 1], NaN where a class has no positive image.
        num_positives (ndarray): Number of images with the class, int64 (C,).
        min_positives (int): Classes with fewer positive images are shown but not averaged.
    """
    ap: np.ndarray
    num_positives: np.ndarray
    min_positives: int

    @property
    def counted(self) -> np.ndarray:
        """Classes that are averaged, bool (C,)."""
        return self.num_positives >= max(1, self.min_positives)

    @property
    def mean(self) -> float:
        """Mean over the counted classes; NaN if none is."""
        return nan_mean(self.ap[self.counted])


def ranking_ap(scores: np.ndarray, positive: np.ndarray) -> float:
    """Compute the area under the precision-recall steps: sum of (R_k - R_{k-1}) P_k over the distinct scores.

    Precision is not made monotone (VOC's own devkit does so, which never gives a lower AP), and images of equal score
    enter together, so that constant scores give the share of positives. This is our choice, because the result is
    lower, independent of the order of images, and the usual one for multi-label classification.

    Args:
        scores (ndarray): Scores, (N,).
        positive (ndarray): Which images have the class, bool (N,).

    Returns:
        float: AP in [0, 1]; NaN without a positive image.
    """
    if not positive.any():
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    scores, positive = scores[order], positive[order]
    last_of_equal = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true_positives = np.cumsum(positive)[last_of_equal]
    precision = true_positives / (last_of_equal + 1)
    return float((np.diff(true_positives, prepend=0) * precision).sum() / positive.sum())


def classification_average_precision(scores: np.ndarray, positive: np.ndarray,
                                     min_positives: int = 1) -> ClassificationAP:
    """Compute the AP of each class over all images.

    Args:
        scores (ndarray): Class scores on any monotone scale, float (N, C).
        positive (ndarray): Image-level labels, bool (N, C).
        min_positives (int): Number of positive images that a class needs to be averaged.

    Returns:
        ClassificationAP: AP by class.

    Raises:
        ValueError: if the shapes differ, or a score is not a number.
    """
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if scores.ndim != 2 or scores.shape != positive.shape:
        raise ValueError(f'scores {scores.shape} and labels {positive.shape} must both have shape (N, C)')
    if np.isnan(scores).any():
        raise ValueError(f'{int(np.isnan(scores).any(1).sum())} images have NaN among their class scores')
    ap = np.array([ranking_ap(scores[:, label], positive[:, label]) for label in range(scores.shape[1])])
    return ClassificationAP(ap, positive.sum(0).astype(np.int64), min_positives)
