"""Localization of single objects by boxes.

There are two protocols. In that of the paper (Sec. 4.3), the method itself decides on a threshold, and its box is
evaluated. The evaluation of weakly supervised localization of Choe et al. (CVPR 2020, "Evaluating Weakly Supervised
Object Localization Methods Right") evaluates score maps at the threshold that is best for the whole data set
(MaxBoxAcc): each image's map is scaled to [0, 1], and the box at a threshold is that of the largest contour of the
pixels above it. Unlike in the published code, the right and lower edges of boxes are exclusive here.

Legend: n, m boxes as (x1, y1, x2, y2), x2 and y2 exclusive; T thresholds; h x w map; H0 x W0 original image.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps

#: the published code quantizes maps to 8 bits, so these are all possible thresholds: above 0, …, above 254
LEVELS = np.arange(255)


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the IoU of all pairs: (n, 4), (m, 4) -> float64 (n, m) in [0, 1], 0 with an empty box."""
    # mmdet's function for tensors, because the one for arrays computes in float32
    return bbox_overlaps(*(torch.as_tensor(np.asarray(boxes, np.float64).reshape(-1, 4)) for boxes in (first, second))
                         ).numpy()


def sweep_boxes(score_map: np.ndarray) -> np.ndarray:
    """Find the box of the largest contour of a map above each threshold.

    Args:
        score_map (ndarray): Scores on any scale, shape (h, w); scaled to [0, 255] by its minimum and maximum.

    Returns:
        ndarray: Boxes in pixels of the map, float64 (T, 4), T = 255; zeros where nothing lies above the threshold
        (everywhere, for a constant map). Among contours of equal area, the first that OpenCV returns counts.

    Raises:
        ValueError: if the map is not two-dimensional, empty, or not finite.
    """
    import cv2
    score_map = np.asarray(score_map, np.float64)
    if score_map.ndim != 2 or not score_map.size or not np.isfinite(score_map).all():
        raise ValueError(f'a score map must be (h, w), not empty and finite, got shape {score_map.shape}')
    span = score_map.max() - score_map.min()
    boxes = np.zeros((len(LEVELS), 4))
    if span <= 0:
        return boxes
    levels = ((score_map - score_map.min()) / span * 255).astype(np.uint8)
    previous = None
    for index, level in enumerate(LEVELS):
        mask = (levels > level).astype(np.uint8)
        count = int(mask.sum())
        if count == previous:  # no pixel has this level, so the mask has not changed
            boxes[index] = boxes[index - 1]
            continue
        previous = count
        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if contours:
            x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
            boxes[index] = x, y, x + width, y + height
    return boxes


@dataclass
class LocalizationRecord:
    """Comparison of one image's prediction with its ground truth.

    Attributes:
        class_correct (bool): Whether the predicted class is that of an object in the image.
        iou (float): Best IoU of the predicted box with any ground-truth box of the image.
        class_iou (float): Best IoU with a ground-truth box of the predicted class; 0 if the class is wrong.
        found (bool): Whether there was a predicted box at all.
        sweep_iou (ndarray | None): IoU at each threshold, best over the image's ground-truth boxes, (T,).
    """
    class_correct: bool
    iou: float
    class_iou: float
    found: bool
    sweep_iou: np.ndarray | None = None


def localization_record(label: int | None, box: np.ndarray | None, true_labels: np.ndarray, true_boxes: np.ndarray,
                        map_boxes: np.ndarray | None = None) -> LocalizationRecord:
    """Compare one image's prediction with its ground truth.

    Args:
        label (int | None): Predicted class, None if there is none.
        box (ndarray | None): Predicted box (4,), None if there is none.
        true_labels (ndarray): Ground-truth classes, (m,).
        true_boxes (ndarray): Ground-truth boxes, (m, 4), m > 0.
        map_boxes (ndarray, optional): Boxes of :func:`sweep_boxes`, scaled to pixels of the image, (T, 4).
    """
    true_labels = np.asarray(true_labels)
    same = true_labels == label if label is not None else np.zeros(len(true_labels), bool)
    ious = box_ious(box, true_boxes)[0] if box is not None else np.zeros(len(true_labels))
    sweep = None if map_boxes is None else box_ious(map_boxes, true_boxes).max(1)
    return LocalizationRecord(bool(same.any()), float(ious.max()), float(np.where(same, ious, 0).max()),
                              box is not None, sweep)


def localization_metrics(records: list[LocalizationRecord], iou_thr: float = 0.5) -> dict[str, float]:
    """Compute localization errors in percent of all images.

    Args:
        records (list[LocalizationRecord]): Records of all images, at least one.
        iou_thr (float): A predicted box is correct if its IoU exceeds this value (paper), and a box of the sweep if its
            IoU reaches it (Choe et al.).

    Returns:
        dict[str, float]: ``loc_err`` (class and box), ``gt_known_err`` (box), ``cls_err``; with maps also
        ``wsol_loc_err`` and ``wsol_gt_known_err`` at ``wsol_thr``, the threshold in [0, 1] that is best for
        ``wsol_gt_known_err`` (the lowest of the best).
    """
    correct_class = np.array([record.class_correct for record in records])
    boxes = np.array([record.iou for record in records]) > iou_thr
    both = np.array([record.class_iou for record in records]) > iou_thr
    metrics = dict(loc_err=_percent_wrong(both), gt_known_err=_percent_wrong(boxes),
                   cls_err=_percent_wrong(correct_class))
    if all(record.sweep_iou is not None for record in records):
        right = np.stack([record.sweep_iou for record in records]) >= iou_thr
        best = int(right.mean(0).argmax())
        metrics.update(wsol_loc_err=_percent_wrong(right[:, best] & correct_class),
                       wsol_gt_known_err=_percent_wrong(right[:, best]), wsol_thr=float(LEVELS[best]) / 255)
    return metrics


def _percent_wrong(right: np.ndarray) -> float:
    return 100 * (1 - float(right.mean()))
