"""Connected regions of masks (8 neighbors).

Legend: n masks, H x W image size.
"""
from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

_EIGHT = np.ones((3, 3), int)


def cue_region(masks: Tensor, cues: Tensor) -> Tensor:
    """The region of each mask that holds most of its cue; the largest region, if the cue is one everywhere.

    Exact on any device, up to rounding where two regions hold the same. On a CPU scipy labels one mask at a time,
    within its box; elsewhere all masks are labeled where they are (:func:`label_regions`), because moving them and
    the maps to the CPU and back takes longer than the rest of the post-processing.

    Args:
        masks (Tensor): bool, has shape (n, H, W).
        cues (Tensor): maps of at least 0, has shape (n, H, W).

    Returns:
        Tensor: bool, has shape (n, H, W). A mask that its cue does not touch stays as it is.
    """
    if len(masks) == 0:
        return masks
    if masks.device.type == 'cpu':
        return torch.from_numpy(np.stack([_region_in_box(*pair) for pair in zip(masks.numpy(), cues.numpy())]))
    return _regions_of_all(masks, cues)


def label_regions(masks: Tensor) -> Tensor:
    """Label the connected regions of all masks at once: bool (n, H, W) -> long (n, H, W), 0 outside of a mask.

    A label is the number, from 1, of its region's last pixel in row-major order. Each pixel starts with its own number
    and takes the largest one around, then the number of the pixel whose number it took: with that second step labels
    leap instead of going a pixel a round, and a handful of rounds does.
    """
    height, width = masks.shape[-2:]
    dtype = torch.float32 if height * width < 2**24 else torch.float64  # holds every number; pooling takes no integers
    labels = torch.arange(1, height * width + 1, dtype=dtype, device=masks.device).view(height, width) * masks
    for turn in itertools.count(1):
        grown = (F.max_pool2d(labels[:, None], 3, stride=1, padding=1)[:, 0] * masks).flatten(1)
        leapt = F.pad(grown, (1, 0)).gather(1, grown.long()).view_as(labels)
        # asked now and then: an answer is waited for, a round more changes nothing
        if turn % 4 == 0 and torch.equal(leapt, labels):
            break
        labels = leapt
    return labels.long()


def _regions_of_all(masks: Tensor, cues: Tensor) -> Tensor:
    """As :func:`cue_region`, on any device."""
    labels = label_regions(masks).flatten(1)
    highest, best = _mass_of_labels(labels, cues.flatten(1)).max(1, keepdim=True)
    return torch.where(highest > 0, labels == best, masks.flatten(1)).view_as(masks)


def _mass_of_labels(labels: Tensor, cues: Tensor) -> Tensor:
    """Sum of the cue over each label, (n, P), (n, P) -> (n, P + 1); 0 for label 0, which is outside."""
    count = labels.shape[1] + 1
    places = labels + count * torch.arange(len(labels), device=labels.device)[:, None]
    # index_add, unlike scatter_add, is deterministic on CUDA where that is asked for
    mass = cues.new_zeros(len(labels) * count).index_add_(0, places.flatten(), cues.flatten()).view(-1, count)
    mass[:, 0] = 0
    return mass


def _region_in_box(mask: np.ndarray, cue: np.ndarray) -> np.ndarray:
    """As :func:`cue_region`, one mask (H, W), of which only the box around it is looked at."""
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
