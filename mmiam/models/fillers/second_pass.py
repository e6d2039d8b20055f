"""A second filling pass, whose cue has what the first one found. Not in the paper; our choice (docs/experiments.md).

Legend: n instances of one image, H x W network input size.
"""
from __future__ import annotations

import torch
from torch import Tensor


def widen_cues(maps: Tensor, logits: Tensor, share: float) -> Tensor:
    """Cues with the Instance Activation Maps of a first pass beneath them.

    A cue marks a point of an object, and its response fades on the way to where a large one ends. What was found on
    the way is nearer to that.

    Args:
        maps (Tensor): cues, not negative, have shape (n, H, W).
        logits (Tensor): what they were filled to, has shape (n, H, W).
        share (float): height of the activation beside that of the cue, both at their maximum; in [0, 1].

    Returns:
        Tensor: has shape (n, H, W), with the maxima of ``maps``.
    """
    found = logits.sigmoid()
    scale = share * maps.flatten(1).amax(1) / found.flatten(1).amax(1).clamp(min=torch.finfo(found.dtype).tiny)
    return torch.maximum(maps, found * scale[:, None, None])


def keep_surer_maps(first: Tensor, second: Tensor) -> Tensor:
    """Of two maps of each instance, as logits (n, H, W), the one that is surer of its foreground; the first in a tie.

    A second pass also runs over into what lies beside a small object, where the activation stays near one half.
    """
    chosen = certainty(second) > certainty(first)
    return torch.where(chosen[:, None, None], second, first)


def certainty(logits: Tensor) -> Tensor:
    """Mean activation where it is above one half, (n, H, W) -> (n,) in {0} and (0.5, 1]; 0 without such a pixel."""
    activation = logits.sigmoid()
    inside = (logits > 0).to(activation)
    return (activation * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
