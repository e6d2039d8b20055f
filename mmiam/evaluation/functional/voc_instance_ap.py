"""Average precision of instances, mAP^r, by the protocol of published VOC results; and average best overlap, ABO.

Legend: an image has n predictions and m ground-truth instances; C classes; T and G are n and m summed over the images.

The protocol is that of "Simultaneous Detection and Segmentation" (Hariharan et al., ECCV 2014) and of the public
evaluations since:

1. For each class and image, predictions are visited in descending order of score.
2. Each prediction is assigned to the ground truth of its class with which its IoU is highest.
3. It is correct if that IoU is at least the threshold and no earlier correct prediction has taken this ground truth.
   A prediction whose best ground truth is taken is wrong, even if its second best would do.
4. Predictions of all images are ranked together; AP is the whole area under the precision-recall curve, with precision
   made monotone (neither the 11-point mean nor COCO's 101 points).
5. A class without ground truth is not counted (NaN); one with ground truth but without predictions has AP 0.

Equal scores keep their order (by image, then by prediction). The protocol does not state this; it is our choice, so
that results can be reproduced.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class ImageOverlaps(NamedTuple):
    """Predictions of one image against its ground truth.

    Attributes:
        scores (ndarray): Scores, float64 (n,).
        labels (ndarray): Predicted labels, int64 (n,).
        gt_labels (ndarray): True labels, int64 (m,).
        iou (ndarray): IoU of each pair whatever its labels, float64 (n, m) in [0, 1].
    """
    scores: np.ndarray
    labels: np.ndarray
    gt_labels: np.ndarray
    iou: np.ndarray


@dataclass
class ClassAP:
    """Average precision of each class, and the counts behind it.

    Attributes:
        ap (ndarray): AP, float64 (C,) in [0, 1], NaN where a class has no ground truth.
        num_gt (ndarray): Number of ground-truth instances, int64 (C,).
        num_predictions (ndarray): Number of predictions, int64 (C,).
        num_correct (ndarray): Number of correct predictions, int64 (C,).
    """
    ap: np.ndarray
    num_gt: np.ndarray
    num_predictions: np.ndarray
    num_correct: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the classes that have ground truth; NaN if none has."""
        return nan_mean(self.ap)


def nan_mean(values: np.ndarray) -> float:
    """Average the values that are not NaN; the result is NaN, without a warning, if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float('nan')


def match_predictions(iou: np.ndarray, iou_thr: float) -> np.ndarray:
    """Apply rules 2 and 3 to the predictions of one class in one image.

    Args:
        iou (ndarray): IoU with the ground truths of the class, (n, m), predictions in descending order of
            score. Among equal IoUs the first ground truth is the best.
        iou_thr (float): Minimum IoU of a correct prediction.

    Returns:
        ndarray: Which predictions are correct, bool (n,).
    """
    correct = np.zeros(len(iou), dtype=bool)
    if iou.shape[1] == 0:
        return correct
    taken = set()
    best = iou.argmax(axis=1)
    for index, truth in enumerate(best):
        if iou[index, truth] >= iou_thr and truth not in taken:
            correct[index] = True
            taken.add(truth)
    return correct


def average_precision(scores: np.ndarray, correct: np.ndarray, num_gt: int) -> float:
    """Compute the area under the monotone precision-recall curve (rules 4 and 5).

    Args:
        scores (ndarray): Scores of all predictions of a class, (T,).
        correct (ndarray): Which are correct, bool (T,).
        num_gt (int): Number of ground-truth instances of the class.

    Returns:
        float: AP in [0, 1]; NaN if ``num_gt`` is 0.
    """
    if num_gt == 0:
        return float('nan')
    correct = correct[np.argsort(-scores, kind='stable')]
    true_positives = np.cumsum(correct)
    precision = true_positives / np.arange(1, len(correct) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    # recall rises by 1 / num_gt at each correct prediction and nowhere else
    return float(precision[correct].sum() / num_gt)


def instance_average_precision(images: Sequence[ImageOverlaps], num_classes: int, iou_thr: float) -> ClassAP:
    """Compute mAP^r at one threshold.

    Args:
        images (Sequence[ImageOverlaps]): All images, including those without predictions or ground truth.
        num_classes (int): C.
        iou_thr (float): Minimum IoU of a correct prediction, in (0, 1].

    Returns:
        ClassAP: AP by class.

    Raises:
        ValueError: if the threshold is out of range, or a label is not in [0, C).
    """
    if not 0 < iou_thr <= 1:
        raise ValueError(f'an IoU threshold must lie in (0, 1], got {iou_thr}')
    num_gt = np.zeros(num_classes, dtype=np.int64)
    scores = [[np.zeros(0)] for _ in range(num_classes)]
    correct = [[np.zeros(0, bool)] for _ in range(num_classes)]
    for image in images:
        for label in np.unique(np.concatenate([image.labels, image.gt_labels])):
            if not 0 <= label < num_classes:
                raise ValueError(f'label {label} is outside [0, {num_classes}); predictions, ground truth '
                                 'and the data set must have the same classes')
            truths = np.flatnonzero(image.gt_labels == label)
            predicted = np.flatnonzero(image.labels == label)
            predicted = predicted[np.argsort(-image.scores[predicted], kind='stable')]
            num_gt[label] += len(truths)
            scores[label].append(image.scores[predicted])
            correct[label].append(match_predictions(image.iou[np.ix_(predicted, truths)], iou_thr))
    joined = [(np.concatenate(some), np.concatenate(right)) for some, right in zip(scores, correct)]
    return ClassAP(
        ap=np.array([average_precision(some, right, int(number)) for (some, right), number in zip(joined, num_gt)]),
        num_gt=num_gt,
        num_predictions=np.array([len(some) for some, _ in joined]),
        num_correct=np.array([int(right.sum()) for _, right in joined]))


def best_overlaps(images: Sequence[ImageOverlaps], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Find each ground truth's highest IoU with any prediction of its class, whatever the score; and the means (ABO).

    The paper gives no formula; the mean of the best Jaccard index per class is that of benchmarks of segmentation
    proposals. Requiring the right class is our choice, because this compares instances rather than class-agnostic
    proposals.

    Args:
        images (Sequence[ImageOverlaps]): All images.
        num_classes (int): C.

    Returns:
        tuple[ndarray, ndarray]: Best IoU of each instance, float64 (G,) in [0, 1], 0 without a prediction of its class;
        and their mean by class, float64 (C,), NaN where a class has no ground truth.
    """
    same = [image.labels[:, None] == image.gt_labels for image in images]
    best = np.concatenate([np.zeros(0), *(np.where(pairs, image.iou, 0.).max(axis=0, initial=0.)
                                          for pairs, image in zip(same, images))])
    labels = np.concatenate([np.zeros(0, np.int64), *(image.gt_labels for image in images)])
    return best, np.array([best[labels == label].mean() if (labels == label).any() else np.nan
                           for label in range(num_classes)])
