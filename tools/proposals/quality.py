"""How well proposals cover annotated instances. For analysis only; nothing here may be used in training.

Legend: g annotated instances, n proposals of an image.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from mmiam.datasets.voc_masks import load_voc_instances
from mmiam.proposals import SegmentProposals, proposal_iou
from mmiam.utils.files import read_ids
from mmiam.utils.rle import decode_masks

COUNTS = (10, 50, 100, 200, 500, 1000)
RECALL_THRESHOLDS = (0.5, 0.7, 0.9)


def split_ids(voc_root: Path, split: str) -> tuple[Path, list[str]]:
    """VOC2012's folder, and the images of a split: a name in ImageSets/Segmentation, or a file of ids.

    Raises:
        FileNotFoundError: if there is no such list.
    """
    root = voc_root / 'VOC2012' if (voc_root / 'VOC2012').is_dir() else voc_root
    path = Path(split) if Path(split).is_file() else root / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(f'no list of images {path}')
    return root, read_ids(path)


def image_figures(root: Path, name: str, proposals: SegmentProposals, keep_void: bool = False
                  ) -> tuple[np.ndarray, list[int]]:
    """:func:`best_so_far` of the annotated instances of an image, and their classes from 0."""
    paths = (str(root / folder / f'{name}.png') for folder in ('SegmentationClass', 'SegmentationObject'))
    instances, void = load_voc_instances(*paths, {i: i - 1 for i in range(1, 255)}, proposals.size)
    masks = decode_masks([i['mask'] for i in instances], proposals.size)
    ignore = None if void is None or keep_void else decode_masks([void], proposals.size)[0]
    return best_so_far(proposal_iou(masks, proposals, ignore).numpy()), [i['bbox_label'] for i in instances]


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
