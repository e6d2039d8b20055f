"""Binary morphology on stacks of masks.

Legend of shapes: n masks, H x W pixels each.

The window is a filled square; pixels outside the image take no part, neither as foreground nor as background
(what OpenCV does by default: its border value is the neutral element of the operation).
"""
from __future__ import annotations

import torch
from torch import Tensor


def _window_reduce(masks: Tensor, radius: int, union: bool) -> Tensor:
    """OR (``union``) or AND over a square window of the given radius, as two passes of shifts in place.

    ``masks``: bool (n, H, W). A square is separable, so 4 * radius shifted operations on bytes suffice
    (100 masks of 448 x 448, 5 x 5: 0.06 s; by max-pooling floats 1.1 s).
    """
    for dim in (1, 2):
        size = masks.size(dim)
        reduced = masks.clone()
        for shift in range(1, min(radius, size - 1) + 1):
            left, right = (0, size - shift), (shift, size - shift)
            for target, source in ((left, right), (right, left)):
                view = reduced.narrow(dim, *target)
                if union:
                    view.logical_or_(masks.narrow(dim, *source))
                else:
                    view.logical_and_(masks.narrow(dim, *source))
        masks = reduced
    return masks


def _check(masks: Tensor, kernel_size: int) -> Tensor:
    if masks.dim() != 3:
        raise ValueError(f'masks must be (n, H, W), got shape {tuple(masks.shape)}')
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
    return masks if masks.dtype == torch.bool else masks != 0


def dilate(masks: Tensor, kernel_size: int = 5) -> Tensor:
    """Dilate binary masks by a ``kernel_size`` x ``kernel_size`` square.

    Args:
        masks (Tensor): Masks, bool or numbers (non-zero is foreground), has shape (n, H, W).
        kernel_size (int): Side of the square in pixels, odd. Defaults to 5.

    Returns:
        Tensor: bool, has shape (n, H, W).

    Raises:
        ValueError: If ``masks`` is not 3-dimensional or ``kernel_size`` is even or below 1.
    """
    return _window_reduce(_check(masks, kernel_size), kernel_size // 2, union=True)


def erode(masks: Tensor, kernel_size: int = 5) -> Tensor:
    """Erode binary masks by a ``kernel_size`` x ``kernel_size`` square. Arguments as in :func:`dilate`."""
    return _window_reduce(_check(masks, kernel_size), kernel_size // 2, union=False)


def morphological_gradient(masks: Tensor, kernel_size: int = 5) -> Tensor:
    """Contour of binary masks: what the dilation has and the erosion has not.

    The band along the contour that the matching of Sec. 3.2 calls the contour mask of a proposal. The 5 x 5
    square is not stated in the paper; it is the one of the public Peak Response Mapping demo.

    Args:
        masks (Tensor): Masks, bool or numbers (non-zero is foreground), has shape (n, H, W).
        kernel_size (int): Side of the square in pixels, odd. Defaults to 5.

    Returns:
        Tensor: bool, has shape (n, H, W).

    Raises:
        ValueError: If ``masks`` is not 3-dimensional or ``kernel_size`` is even or below 1.
    """
    masks = _check(masks, kernel_size)
    radius = kernel_size // 2
    # erosion is inside the dilation, so the difference of the two is their exclusive or
    return _window_reduce(masks, radius, union=True).logical_xor_(_window_reduce(masks, radius, union=False))
