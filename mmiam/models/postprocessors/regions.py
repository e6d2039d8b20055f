"""Connected regions of masks (8 neighbours).

Legend: n masks, H x W image size.
"""
from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_EIGHT = np.ones((3, 3), int)


def largest_component(mask: Tensor) -> Tensor:
    """The connected component (8 neighbours) with most pixels, the first of the largest: bool (H, W) -> (H, W)."""
    regions, count = ndimage.label(mask.cpu().numpy(), _EIGHT)
    if count < 2:
        return mask
    areas = torch.as_tensor(regions).flatten().bincount(minlength=count + 1)
    areas[0] = 0
    return (torch.as_tensor(regions) == int(areas.argmax())).to(mask.device)


def cue_region(masks: Tensor, cues: Tensor) -> Tensor:
    """The region of each mask that holds most of its cue: bool (n, H, W) and maps >= 0 (n, H, W) -> bool (n, H, W).

    A mask that its cue does not touch stays as it is.
    """
    kept = [_cue_region(mask, cue) for mask, cue in zip(masks.cpu().numpy(), cues.cpu().numpy())]
    return torch.from_numpy(np.stack(kept)).to(masks.device) if kept else masks


def _cue_region(mask: np.ndarray, cue: np.ndarray) -> np.ndarray:
    regions, number = ndimage.label(mask, _EIGHT)
    if number < 2:
        return mask
    mass = np.bincount(regions.ravel(), weights=cue.ravel(), minlength=number + 1)[1:]
    return regions == mass.argmax() + 1 if mass.any() else mask
