"""The usual ways of computing the filling and the ConvCRF, to which benchmark_ops.py compares the package's own.

Legend of shapes: I instances, C channels, L labels, H x W locations or pixels, h x w cells, T = r * r taps, K the
window's side.
"""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def unfold_filling(features: Tensor, weights: Tensor, num_steps: int) -> Tensor:
    """Filling by ``F.unfold`` and autograd: (I, C, H, W), (1, C, T, H, W) -> (I, C, H, W)."""
    num, channels, height, width = features.shape
    taps = weights.size(2)
    side = math.isqrt(taps)
    for _ in range(num_steps):
        columns = F.unfold(features, side, padding=side // 2).view(num, channels, taps, height, width)
        features = (columns * weights).sum(2)
    return features


def _cells(planes: Tensor, blur: int, start: list[int]) -> Tensor:
    if blur == 1:
        return planes
    return F.avg_pool2d(planes[None], blur, padding=start, count_include_pad=False)[0]


def _filters(features: Tensor, kernel_size: int) -> Tensor:
    """exp(-|f_i - f_j|^2 / 2) for each shift j of the window: (n, h, w) -> (K * K, h, w)."""
    h, w = features.shape[1:]
    span = kernel_size // 2
    filters = features.new_zeros(kernel_size, kernel_size, h, w)
    for dy in range(-min(span, h - 1), min(span, h - 1) + 1):
        for dx in range(-min(span, w - 1), min(span, w - 1) + 1):
            here = slice(max(-dy, 0), h - max(dy, 0)), slice(max(-dx, 0), w - max(dx, 0))
            there = slice(max(dy, 0), h - max(-dy, 0)), slice(max(dx, 0), w - max(-dx, 0))
            distance = (features[(..., *there)] - features[(..., *here)]).square().sum(0)
            filters[(dy + span, dx + span, *here)] = torch.exp(-.5 * distance)
    return filters.flatten(0, 1)


@torch.no_grad()
def unfold_conv_crf(unary: Tensor, image: Tensor, kernel_size: int = 7, blur: int = 4, num_iters: int = 5,
                    pos_sigma: float = 3., pos_compat: float = 3., col_sigma: float = 13., col_compat: float = 10.,
                    weight: float = .2) -> Tensor:
    """ConvCRF by ``F.unfold`` with the public code's conventions, for one instance: (1, L, H, W) -> (1, L, H, W)."""
    height, width = unary.shape[-2:]
    start = [math.ceil(-size % blur / 2) for size in (height, width)]
    mesh = torch.meshgrid(torch.arange(height).to(unary), torch.arange(width).to(unary), indexing='ij')
    filters = pos_compat * _filters(_cells(torch.stack(mesh) / pos_sigma, blur, start), kernel_size)
    filters = filters + col_compat * _filters(_cells(image / col_sigma, blur, start), kernel_size)
    log_unary = unary[0].log_softmax(0)
    labels = log_unary
    for _ in range(num_iters):
        cells = _cells(labels, blur, start)
        columns = F.unfold(cells[None], kernel_size, padding=kernel_size // 2)
        message = (columns.view(len(labels), kernel_size**2, *cells.shape[1:]) * filters).sum(1)
        if blur > 1:
            message = F.interpolate(message[None], scale_factor=blur, mode='bilinear', align_corners=False)[0]
            message = message[:, start[0]:start[0] + height, start[1]:start[1] + width]
        labels = ((1 - weight) * log_unary + weight * message).softmax(0)
    return labels[None]


def unfold_conv_crf_each(unary: Tensor, image: Tensor, **settings) -> Tensor:
    """:func:`unfold_conv_crf` for one instance after the other, (I, L, H, W) -> (I, L, H, W)."""
    return torch.cat([unfold_conv_crf(one[None], image, **settings) for one in unary])
