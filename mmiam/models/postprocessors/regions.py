"""Connected regions of masks (8 neighbors).

Legend: n masks, H x W image size.
"""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

_EIGHT = np.ones((3, 3), int)


def keep_cue_region(masks: Tensor, cues: Tensor) -> Tensor:
    """Keep the region of each mask that holds most of its cue; with a cue of ones, this is the largest region.

    The result is exact on any device, up to rounding where two regions hold equal shares. On a CPU, scipy labels one
    mask at a time, within its box; elsewhere all masks are labeled on their device (:func:`label_regions`), because
    moving them and the maps to the CPU and back would take longer than the rest of the post-processing.

    Args:
        masks (Tensor): bool, has shape (n, H, W).
        cues (Tensor): non-negative maps, has shape (n, H, W).

    Returns:
        Tensor: bool, has shape (n, H, W). A mask that its cue does not touch stays as it is.
    """
    if len(masks) == 0:
        return masks
    if masks.device.type == 'cpu':
        return torch.from_numpy(np.stack([_keep_region_in_box(*pair) for pair in zip(masks.numpy(), cues.numpy())]))
    return _keep_regions_of_all(masks, cues)


def label_regions(masks: Tensor) -> Tensor:
    """Label the connected regions of all masks at once: bool (n, H, W) -> long (n, H, W), 0 outside the masks.

    The label of a region is the number of its last pixel, counted from 1 in row-major order over all masks. Each pixel
    starts with its own number as its label. The pixel whose number is a label is called the head of all pixels with
    that label. In each round, every head takes the largest label adjacent to any of its pixels, and then every pixel
    takes the label of its head's head. If each pixel only took the largest label around it, labels would advance by
    one pixel per round: 389 rounds for blobs of 512 x 512 pixels, against 7 this way.
    """
    labels = torch.arange(1, masks.numel() + 1, device=masks.device).view(masks.shape) * masks
    outside = torch.zeros(1, dtype=torch.long, device=masks.device)
    changed, turn = True, 0
    while changed:  # written so that TorchScript and its ONNX exporter can handle it
        around = F.max_pool2d(labels.double().unsqueeze(1), 3, 1, 1).squeeze(1).long() * masks
        flat = labels.view(-1)
        heads = torch.cat([outside, flat]).scatter_reduce(0, flat, around.view(-1), 'amax')
        heads = heads.gather(0, heads)
        spread = heads.gather(0, heads)[1:].view(masks.shape).long()
        turn += 1
        # checked now and then only: a GPU has to be waited for, and extra rounds change nothing
        changed = turn % 5 != 0 or bool((spread != labels).any())
        labels = spread
    return labels


def _keep_regions_of_all(masks: Tensor, cues: Tensor) -> Tensor:
    """Do the same as :func:`keep_cue_region`, for all masks at once on any device."""
    labels = label_regions(masks)
    # index_add, unlike scatter_add, is deterministic on CUDA if that is requested
    mass = cues.new_zeros(labels.numel() + 1).index_add_(0, labels.flatten(), cues.flatten())[1:].view_as(cues)
    highest, best = mass.flatten(1).max(1)
    best = best + 1 + masks.shape[1] * masks.shape[2] * torch.arange(len(masks), device=masks.device)
    return torch.where(highest[:, None, None] > 0, labels == best[:, None, None], masks)


def _keep_region_in_box(mask: np.ndarray, cue: np.ndarray) -> np.ndarray:
    """Do the same as :func:`keep_cue_region` for one mask (H, W), looking only inside its bounding box."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return mask
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    regions, number = ndimage.label(mask[box], _EIGHT)
    mass = np.bincount(regions.ravel(), weights=cue[box].ravel(), minlength=number + 1)[1:]
    if number < 2 or not mass.any():
        return mask
    kept = np.zeros_like(mask)
    kept[box] = regions == mass.argmax() + 1
    return kept
