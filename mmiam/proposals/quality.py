"""How well proposals cover annotated instances. For analysis only; nothing here may be used in training.

Legend: g annotated instances, n proposals of an image.
"""
from __future__ import annotations

import numpy as np

from .container import SegmentProposals

COUNTS = (10, 50, 100, 200, 500, 1000)
RECALL_THRESHOLDS = (0.5, 0.7, 0.9)


def iou_with_masks(proposals: SegmentProposals, masks: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
    """Jaccard index of every proposal with every mask, without expanding proposals.

    Args:
        proposals (SegmentProposals): n proposals of size (H, W).
        masks (ndarray): bool (g, H, W).
        ignore (ndarray, optional): bool (H, W) pixels that count neither in intersections nor in unions.

    Returns:
        ndarray: float64 (g, n); 0 where both are empty.

    Raises:
        ValueError: if masks and proposals differ in size.
    """
    if masks.shape[1:] != proposals.size:
        raise ValueError(f'masks of {masks.shape[1:]} (H, W), proposals of {proposals.size}')
    valid = np.ones(proposals.size, bool) if ignore is None else ~ignore
    masks = masks & valid
    common = np.zeros((len(masks), len(proposals)))
    areas = np.zeros(len(proposals))
    for l, positions, membership in proposals.by_level():
        labels, table = proposals.label_maps[l], membership.T.astype(np.float64)
        k = proposals.num_labels[l]
        per_label = [np.bincount(labels[mask], minlength=k) for mask in masks]
        common[:, positions] = np.reshape(per_label, (len(masks), k)).astype(np.float64) @ table
        areas[positions] = np.bincount(labels[valid], minlength=k).astype(np.float64) @ table
    union = masks.sum((1, 2))[:, None] + areas[None] - common
    return common / np.maximum(union, 1)


def best_so_far(iou: np.ndarray, counts: tuple[int, ...] = COUNTS) -> np.ndarray:
    """Best IoU of each instance among the first c proposals, for each c of ``counts`` and then for all of them.

    Args:
        iou (ndarray): (g, n), proposals in order of rank.
        counts (tuple): Numbers of proposals.

    Returns:
        ndarray: (g, len(counts) + 1); 0 where there is no proposal.
    """
    return np.stack([iou[:, :c].max(1, initial=0) for c in (*counts, iou.shape[1])], 1)


def summarize(best: np.ndarray, classes: np.ndarray, num_proposals: list[int],
              class_names: tuple[str, ...] = (), counts: tuple[int, ...] = COUNTS) -> dict:
    """Figures over a data set.

    Args:
        best (ndarray): (g, len(counts) + 1) as :func:`best_so_far` gives it, over all images.
        classes (ndarray): (g,) class index of each instance.
        num_proposals (list): Proposals of each image.
        class_names (tuple): Names for the keys of ``abo_per_class``; the index where there is none.
        counts (tuple): As given to :func:`best_so_far`.

    Returns:
        dict: ``mean_best_iou`` (mean over instances, all proposals), ``mean_best_iou_at_200`` and the like,
        ``recall_50`` / ``_70`` / ``_90`` (share of instances with a proposal of at least that IoU) and with
        ``_at_200`` and the like, ``abo`` (mean over classes of the class means) and ``abo_per_class``,
        ``num_images``, ``num_instances``, ``mean_proposals``. NaN where there is no instance.
    """
    classes = np.asarray(classes)
    result: dict = {}
    for i, suffix in enumerate([*(f'_at_{c}' for c in counts), '']):
        column = best[:, i] if len(best) else np.full(1, np.nan)
        result[f'mean_best_iou{suffix}'] = float(column.mean())
        for threshold in RECALL_THRESHOLDS:
            recall = (column >= threshold).mean() if len(best) else np.nan
            result[f'recall_{threshold * 100:.0f}{suffix}'] = float(recall)
    present = np.unique(classes)
    per_class = {c: float(best[classes == c, -1].mean()) for c in present.tolist()}
    result['abo'] = float(np.mean(list(per_class.values()))) if per_class else float('nan')
    result['abo_per_class'] = {(class_names[c] if c < len(class_names) else str(c)): v for c, v in per_class.items()}
    result.update(num_images=len(num_proposals), num_instances=len(best),
                  mean_proposals=float(np.mean(num_proposals)) if num_proposals else 0.)
    return result
