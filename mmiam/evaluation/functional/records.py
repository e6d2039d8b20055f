"""Predictions and ground truth of images as plain, json-ready records, and their evaluation.

A record holds: ``img_id``; ``height``, ``width`` of the original image in pixels; ``image_labels`` (list of
int, or None); ``void_mask`` (RLE or None); ``ground_truth`` and ``predictions``, each a dict of lists of one
length: ``labels``, ``masks`` (RLE counts of that size), ``bboxes`` (xyxy); predictions also have ``scores``,
and ground truth has ``ignore_flags``. ``predictions`` is None if the model gave no predictions of this kind.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmiam.utils.rle import remove_region, rle_iou, text_rle

from .voc_instance_ap import ClassAP, ImageOverlaps, best_overlaps, instance_average_precision, nan_mean


@dataclass
class InstanceScores:
    """Scores of one set of predictions.

    Attributes:
        ap (dict[float, ClassAP]): AP by IoU threshold.
        best (ndarray): Best IoU of each ground-truth instance with a prediction of its class.
        abo (ndarray): Mean of these per class.
    """
    ap: dict[float, ClassAP]
    best: np.ndarray
    abo: np.ndarray

    def metrics(self) -> dict[str, float]:
        """Return ``mAP_25`` …, ``ABO`` (mean over classes) and ``ABO_instance``, in percent."""
        values = {threshold_key(thr): 100 * result.mean for thr, result in self.ap.items()}
        return dict(values, ABO=100 * nan_mean(self.abo), ABO_instance=100 * nan_mean(self.best))


def threshold_key(iou_thr: float) -> str:
    """Name the metric of a threshold: ``mAP_50`` for 0.5, ``mAP_2.5`` for 0.025."""
    return f'mAP_{round(100 * iou_thr, 6):g}'


def mask_rles(part: Mapping, record: Mapping) -> list[dict]:
    """Return the masks of ``ground_truth`` or ``predictions`` as RLE dicts."""
    size = [record['height'], record['width']]
    return [dict(size=size, counts=counts) for counts in part['masks']]


def ground_truth_part(instances: Iterable[Mapping], size: Sequence[int]) -> dict[str, list]:
    """Build the ``ground_truth`` of a record from mmdet's ``instances``.

    Args:
        instances (Iterable[Mapping]): Dicts with ``bbox``, ``bbox_label``, ``mask`` (RLE), ``ignore_flag``.
        size (Sequence[int]): (H, W) of the original image.

    Raises:
        ValueError: if an instance has no RLE mask of that size.
    """
    part = dict(labels=[], masks=[], bboxes=[], ignore_flags=[])
    for position, instance in enumerate(instances):
        mask = instance.get('mask')
        if not isinstance(mask, Mapping) or list(mask['size']) != list(size):
            raise ValueError(f'instance {position} needs a mask as RLE of {list(size)} pixels')
        part['labels'].append(int(instance['bbox_label']))
        part['masks'].append(text_rle(mask)['counts'])
        part['bboxes'].append([float(v) for v in instance['bbox']])
        part['ignore_flags'].append(int(instance.get('ignore_flag', 0)))
    return part


def record_overlaps(record: Mapping, void: str) -> ImageOverlaps:
    """Compute the IoUs of a record's predictions (None counts as an empty list) with its ground truth.

    Ground truth flagged as ignored is left out. ``void`` is ``'background'`` (VOC's published protocol: predicted void
    pixels enlarge the union) or ``'ignore'`` (void pixels do not count at all).
    """
    truth = record['ground_truth']
    found = record['predictions'] or dict(labels=[], masks=[], scores=[])
    kept = [i for i, flag in enumerate(truth['ignore_flags']) if not flag]
    truths = mask_rles(truth, record)
    region = record['void_mask'] if void == 'ignore' else None
    iou = rle_iou(remove_region(mask_rles(found, record), region), remove_region([truths[i] for i in kept], region))
    return ImageOverlaps(np.array(found['scores'], np.float64), np.array(found['labels'], np.int64),
                         np.array([truth['labels'][i] for i in kept], np.int64), iou)


def evaluate_records(records: Iterable[Mapping], num_classes: int, iou_thrs: Sequence[float] = (.25, .5, .75),
                     void: str = 'background') -> InstanceScores:
    """Compute mAP^r at several thresholds, and ABO.

    Args:
        records (Iterable[Mapping]): Records of all images.
        num_classes (int): Number of classes.
        iou_thrs (Sequence[float]): Thresholds in (0, 1].
        void (str): ``'background'`` (VOC's published protocol) or ``'ignore'``.

    Returns:
        InstanceScores: The scores, with the counts behind them.

    Raises:
        ValueError: on an unknown ``void`` or a label out of range.
    """
    if void not in ('background', 'ignore'):
        raise ValueError(f"void must be 'background' or 'ignore', got {void!r}")
    images = [record_overlaps(record, void) for record in records]
    ap = {float(thr): instance_average_precision(images, num_classes, thr) for thr in iou_thrs}
    return InstanceScores(ap, *best_overlaps(images, num_classes))


def class_table(scores: InstanceScores, classes: Sequence[str]) -> list[list[str]]:
    """Make the rows of a table: numbers of ground truths and predictions, AP and number correct per threshold, ABO.

    AP and ABO are in percent. Classes with neither ground truth nor predictions are left out; ``-`` marks a figure
    that is not defined.
    """
    first = next(iter(scores.ap.values()))
    rows = [['class', 'gt', 'pred'] + [f'{threshold_key(thr)[1:]} (correct)' for thr in scores.ap] + ['ABO']]
    for label, name in enumerate(classes):
        if first.num_gt[label] or first.num_predictions[label]:
            rows.append([name, str(first.num_gt[label]), str(first.num_predictions[label])]
                        + [f'{percent(r.ap[label])} ({r.num_correct[label]})' for r in scores.ap.values()]
                        + [percent(scores.abo[label])])
    rows.append(['mean of classes', str(first.num_gt.sum()), str(first.num_predictions.sum())]
                + [f'{percent(r.mean)} ({r.num_correct.sum()})' for r in scores.ap.values()]
                + [percent(nan_mean(scores.abo))])
    return rows


def percent(value: float) -> str:
    """Format a fraction as percent with one decimal, ``-`` for NaN."""
    return '-' if np.isnan(value) else f'{100 * value:.1f}'
