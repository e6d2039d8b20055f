"""Non-maximum suppression of instance masks.

Legend: n and m masks, H x W pixels each; IoU = |A and B| / |A or B|, in [0, 1].
"""
from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 22  # floats held at a time (16 MiB); our choice: below the size of a typical L3 cache


def mask_iou(masks1: Tensor, masks2: Tensor) -> Tensor:
    """Compute the intersection over union of every pair of masks, by matrix products over chunks of pixels.

    Args:
        masks1 (Tensor): bool masks, has shape (n, H, W).
        masks2 (Tensor): bool masks, has shape (m, H, W).

    Returns:
        Tensor: float32 IoU, has shape (n, m); two empty masks have IoU 0. Counts are exact, under autocast too: a
        chunk's are below 2^24 and chunks are added up in float64.

    Raises:
        ValueError: If the masks are not 3-dimensional or differ in height or width.
    """
    if masks1.dim() != 3 or masks2.dim() != 3 or masks1.shape[1:] != masks2.shape[1:]:
        raise ValueError('masks must be (n, H, W) and (m, H, W) of one size, got '
                         f'{tuple(masks1.shape)} and {tuple(masks2.shape)}')
    same = masks1 is masks2
    flat1, flat2 = (m.flatten(1) if m.dtype == torch.bool else m.flatten(1) != 0 for m in (masks1, masks2))
    inter = torch.zeros(len(flat1), len(flat2), dtype=torch.float64, device=flat1.device)
    step = max(1, _CHUNK_ELEMENTS // max(1, len(flat1) + len(flat2)))
    # half precision cannot hold pixel counts: above 2,048 they are rounded, above 65,504 they are infinite
    with torch.autocast(flat1.device.type, enabled=False):
        for start in range(0, flat1.size(1), step):
            part1 = flat1[:, start:start + step].float()
            part2 = part1 if same else flat2[:, start:start + step].float()
            inter += part1 @ part2.t()
    area1, area2 = (f.sum(1, dtype=torch.float64) for f in (flat1, flat2))
    union = area1[:, None] + area2[None, :] - inter
    return (inter / union.clamp(min=1)).float()


def mask_nms(masks: Tensor, scores: Tensor, iou_thr: float, labels: Tensor) -> Tensor:
    """Suppress duplicate masks of the same class greedily (non-maximum suppression).

    Masks are visited by descending score (equal scores: the earlier first); one is dropped if its IoU with a mask
    of its class already kept exceeds ``iou_thr``. The paper does not say how duplicates are removed; the public Peak
    Response Mapping demo uses the threshold 0.3 and compares across classes.

    Args:
        masks (Tensor): bool masks, has shape (n, H, W).
        scores (Tensor): Scores, has shape (n,).
        iou_thr (float): IoU in [0, 1] above which (strictly) the lower-scored mask is dropped.
        labels (Tensor): Class indices, has shape (n,).

    Returns:
        Tensor: Indices of the kept masks, long, by descending score, has shape (m,).

    Raises:
        ValueError: If the lengths differ or ``masks`` is not 3-dimensional.
    """
    n = len(masks)
    if masks.dim() != 3 or scores.shape != (n,) or labels.shape != (n,):
        raise ValueError('mask_nms needs masks (n, H, W), scores (n,) and labels (n,), got '
                         f'{tuple(masks.shape)}, {tuple(scores.shape)} and {tuple(labels.shape)}')
    order = scores.argsort(descending=True, stable=True)
    if n < 2:
        return order
    masks = masks[order]
    overlaps = (mask_iou(masks, masks) > iou_thr) & (labels[order][:, None] == labels[order])
    overlaps = overlaps.triu_(1).cpu()  # [i, j]: i, scored higher, would drop j
    alive = torch.ones(n, dtype=torch.bool)
    for i in range(n):
        if alive[i]:
            alive &= ~overlaps[i]
    return order[alive.nonzero()[:, 0].to(order.device, non_blocking=True)]
