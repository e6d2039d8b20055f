"""Peak stimulation: from class response maps to class scores through their local maxima.

Sec. 3.1 of the paper: a class is scored by the mean of its class response map over the local maxima, so
that training sharpens exactly the locations from which instances are read later.

Legend: B images, C classes, H x W response map.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

FILTERS = ('median', 'mean', 'max')
GRAD_MODES = ('official', 'mean')


def peak_stimulation(
    response: Tensor,
    win_size: int = 3,
    peak_filter: str | float | None = 'median',
    grad_mode: str = 'official',
) -> tuple[Tensor, Tensor]:
    """Find the peaks of class response maps and average them into class scores.

    A location is a peak if it is the maximum of the ``win_size`` x ``win_size`` window around it and is not
    below the filter's threshold. Beyond the border the map counts as -inf, so border pixels can be peaks.
    Among equal values in a window the first in row-major order wins; a constant map hence has exactly one
    peak, its top left pixel.

    Args:
        response (Tensor): Class response maps (raw logits), floating point, has shape (B, C, H, W).
        win_size (int): Odd side of the window in pixels of the map. Defaults to 3 (the public PRM code).
        peak_filter (str | float | None): Threshold that a peak must reach (``>=``), one per image and class:
            ``'median'`` (of the map; for an even number of pixels the lower of the two middle ones),
            ``'mean'``, ``'max'``, or a constant for all maps; None keeps every local maximum.
            Defaults to ``'median'``.
        grad_mode (str): How the gradient of a score reaches its peaks. ``'mean'`` divides by the number of
            peaks, the derivative of the score. ``'official'`` hands it to each peak undivided, as the public
            PRM code does; learning rates and peak thresholds of the literature rest on it.
            Defaults to ``'official'``.

    Returns:
        tuple[Tensor, Tensor]: Scores, the mean response over the peaks, (B, C), differentiable in
        ``response``, 0 where a map has no peak (possible with a constant filter only) and NaN where it holds a
        NaN; and the peaks, bool, (B, C, H, W).

    Raises:
        ValueError: If the map is not 4-dimensional or empty, the window is even, or an option is unknown.
    """
    _check(response, win_size, peak_filter, grad_mode)
    peaks = local_maxima(response.detach(), win_size)
    threshold = peak_threshold(response.detach(), peak_filter)
    if threshold is not None:
        peaks &= response.detach() >= threshold
    return _MeanOverPeaks.apply(response, peaks, grad_mode == 'mean'), peaks


class _MeanOverPeaks(Function):
    """Mean of the response over the peaks, with the gradient divided by their number or not."""

    @staticmethod
    def forward(ctx, response: Tensor, peaks: Tensor, divide: bool) -> Tensor:
        count = peaks.sum(dim=(2, 3)).clamp_(min=1)
        ctx.save_for_backward(peaks, count)
        ctx.divide = divide
        score = response.masked_fill(~peaks, 0).sum(dim=(2, 3)) / count
        # NaN >= threshold is false: without this a broken map would have no peak, score 0 and train in silence
        return score.masked_fill(response.amax(dim=(2, 3)).isnan(), torch.nan)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        peaks, count = ctx.saved_tensors
        if ctx.divide:
            grad = grad / count
        return peaks * grad[:, :, None, None], None, None


def local_maxima(response: Tensor, win_size: int) -> Tensor:
    """Find the pixels that are the (first) maximum of their own window, bool, (B, C, H, W)."""
    height, width = response.shape[-2:]
    _, argmax = F.max_pool2d(response, win_size, stride=1, padding=win_size // 2, return_indices=True)
    own_index = torch.arange(height * width, device=response.device).view(height, width)
    return argmax == own_index


def peak_threshold(response: Tensor, peak_filter: str | float | None) -> Tensor | float | None:
    """Compute the threshold of every map, (B, C, 1, 1), or one number for all of them; None without a filter."""
    if not isinstance(peak_filter, str):
        return peak_filter
    flat = response.flatten(2)
    if peak_filter == 'median' and (flat.is_cuda or torch.jit.is_tracing()):
        # on CUDA neither median nor kthvalue along a dimension is deterministic, so deterministic mode refuses both;
        # and neither is an operator of ONNX
        threshold = flat.sort(dim=2).values[:, :, (flat.shape[2] - 1) // 2]
    elif peak_filter == 'median':
        threshold = flat.median(dim=2).values
    else:
        threshold = flat.mean(dim=2) if peak_filter == 'mean' else flat.amax(dim=2)
    return threshold[:, :, None, None]


def _check(response: Tensor, win_size: int, peak_filter: str | float | None, grad_mode: str) -> None:
    if response.dim() != 4 or response.shape[-1] * response.shape[-2] == 0:
        raise ValueError(f'response must be a non-empty (B, C, H, W) map, got shape {tuple(response.shape)}')
    if not isinstance(win_size, int) or win_size < 1 or win_size % 2 == 0:
        raise ValueError(f'win_size must be a positive odd integer, got {win_size!r}')
    if isinstance(peak_filter, str) and peak_filter not in FILTERS:
        raise ValueError(f'peak_filter must be one of {FILTERS}, a number or None, got {peak_filter!r}')
    if grad_mode not in GRAD_MODES:
        raise ValueError(f'grad_mode must be one of {GRAD_MODES}, got {grad_mode!r}')
