"""Gaussians that stand for an object: at a peak, at a click, in a box."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: width of the Gaussian at a peak or a click, in units of sqrt(H W); our choice (docs/experiments.md)
POINT_SIGMA = 0.06


def draw_gaussian(center: Sequence[float], sigma: Sequence[float], box: Sequence[float], like: Tensor) -> Tensor:
    """Gaussian with maximum 1 at the pixel next to ``center``, zero outside of ``box``: (H, W) for (..., H, W).

    Widths below half a pixel are half a pixel; where the box holds no pixel's center, the nearest pixel is taken.
    """
    rows, columns = like.shape[-2:]
    factors = []
    for axis, side in ((1, rows), (0, columns)):
        places = torch.arange(side, dtype=torch.float32, device=like.device) + 0.5
        exponent = -0.5 * ((places - center[axis]) / max(sigma[axis], 0.5)).square()
        inside = (places >= box[axis]) & (places < box[axis + 2])
        if not inside.any():
            inside[int((places - center[axis]).abs().argmin())] = True
        exponent = exponent.masked_fill(~inside, -torch.inf)
        factors.append((exponent - exponent.max()).exp())
    return (factors[0][:, None] * factors[1]).to(like.dtype)


def draw_gaussians(places: Tensor, sigma: float, size: tuple[int, int]) -> Tensor:
    """:func:`draw_gaussian` around pixels (y, x), has shape (n, 2), with the whole image as box: (n, *size).

    All at once where the places are, because a GPU would be asked for each of them.
    """
    factors = []
    for place, side in zip(places.float().T, size):
        exponent = -0.5 * ((torch.arange(side, device=places.device) - place[:, None]) / max(sigma, 0.5)).square()
        factors.append((exponent - exponent.amax(1, keepdim=True)).exp())
    return factors[0][:, :, None] * factors[1][:, None]
