"""Gaussians that stand for an object: at a peak, at a click or in a box."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: width of the Gaussian at a peak or a click, in units of sqrt(H W); our choice (docs/experiments.md)
POINT_SIGMA = 0.06


def draw_gaussian(center: Sequence[float], sigma: Sequence[float], box: Sequence[float], like: Tensor) -> Tensor:
    """Draw a Gaussian with maximum 1 at the pixel nearest to ``center``, zero outside ``box``: (H, W).

    Args:
        center (Sequence[float]): (x, y) in pixels; the center of the first pixel is (0.5, 0.5).
        sigma (Sequence[float]): widths (x, y) in pixels, at least half a pixel each.
        box (Sequence[float]): (x1, y1, x2, y2) in pixels, x2 and y2 exclusive. If it contains no pixel's center, the
            nearest pixel is used.
        like (Tensor): determines size, type and device, has shape (..., H, W).
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
    """Draw Gaussians as :func:`draw_gaussian` does, around n pixels (y, x), has shape (n, 2): (n, *size).

    The box is the whole image. All are drawn at once on the device of ``places``: one at a time, each would have to be
    read back from a GPU.
    """
    factors = []
    for place, side in zip(places.float().T, size):
        exponent = -0.5 * ((torch.arange(side, device=places.device) - place[:, None]) / max(sigma, 0.5)).square()
        factors.append((exponent - exponent.amax(1, keepdim=True)).exp())
    return factors[0][:, :, None] * factors[1][:, None]
