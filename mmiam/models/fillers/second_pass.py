"""A second filling pass, whose cue includes what the first found. Not in the paper; our choice (docs/experiments.md).

Legend: n instances of one image, H x W network input size.
"""
from __future__ import annotations

import torch
from torch import Tensor


def widen_cues(maps: Tensor, logits: Tensor, share: float) -> Tensor:
    """Lay the Instance Activation Maps of a first pass under the cues.

    A cue marks a point of an object, and the response fades on its way to the end of a large object. What the first
    pass found lies closer to that end.

    Args:
        maps (Tensor): non-negative cues, has shape (n, H, W).
        logits (Tensor): maps filled from these cues, has shape (n, H, W).
        share (float): maximum of the activation relative to the maximum of the cue, in [0, 1].

    Returns:
        Tensor: cues with the same maxima as ``maps``, has shape (n, H, W).
    """
    found = logits.sigmoid()
    scale = share * maps.flatten(1).amax(1) / found.flatten(1).amax(1).clamp(min=torch.finfo(found.dtype).tiny)
    return torch.maximum(maps, found * scale[:, None, None])


def keep_surer_maps(first: Tensor, second: Tensor) -> Tensor:
    """Keep, of two maps per instance as logits (n, H, W), the one more certain of its foreground; the first in a tie.

    A second pass also spills over into the surroundings of small objects, where the activation stays near one half.
    """
    chosen = certainty(second) > certainty(first)
    return torch.where(chosen[:, None, None], second, first)


def certainty(logits: Tensor) -> Tensor:
    """Compute the mean activation where it exceeds one half: (n, H, W) -> (n,) in (0.5, 1], or 0 if it never does."""
    activation = logits.sigmoid()
    inside = (logits > 0).to(activation)
    return (activation * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
