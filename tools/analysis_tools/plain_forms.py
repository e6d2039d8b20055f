"""The usual ways of computing the operators, with which ``benchmark.py ops`` compares the package's own.

Legend: I instances, C channels, L labels, H x W locations or pixels, h x w cells, T = r * r taps, K the
window's side, P peaks or proposals, n maps.
"""
from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def dense_matching(prms: Tensor, proposals, alpha: float = 0.8, chunk: int = 50) -> Tensor:
    """alpha <M, S> + <M, contour(S)> with every mask expanded, in chunks: 1,500 float masks do not fit. -> (n, P)"""
    flat, parts = prms.flatten(1), []
    for start in range(0, len(proposals), chunk):
        masks = proposals.masks(range(start, min(start + chunk, len(proposals))))
        contours = np.stack([cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
                             for mask in masks.astype(np.uint8)])
        masks, contours = (torch.from_numpy(one).to(prms.device) for one in (masks, contours))
        parts.append(flat @ (alpha * masks.flatten(1).to(flat) + contours.flatten(1).to(flat)).T)
    return torch.cat(parts, 1)


class _ShiftHook(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, offset):
        ctx.save_for_backward(x, offset)
        return x - offset

    @staticmethod
    def backward(ctx, grad):
        x, offset = ctx.saved_tensors
        return (x - offset) * grad, None


class _ShareHook(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, z):
        ctx.save_for_backward(z)
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        z, = ctx.saved_tensors
        share = grad / (z.abs() + 1e-10)
        share.masked_fill_(z < 1e-10, 0)
        return None, share


def _probed_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The value once, and once, differentiably, Z of Eq. 1."""
    value = conv._conv_forward(x, conv.weight, conv.bias).detach()
    z = conv._conv_forward(_ShiftHook.apply(x, x.detach().min()), conv.weight.detach().relu(), None)
    return _ShareHook.apply(value, z)


def peak_by_peak(network: nn.Module, images: Tensor, peaks: Tensor, retain: bool = True) -> Tensor:
    """Peak Response Maps of one image by a backward pass a peak, (P, H, W).

    Differs from the public way in nothing that takes time. ``retain``: with the graph of one forward pass, or with a
    forward pass a peak.
    """
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for conv in convs:
        conv.forward = lambda x, conv=conv: _probed_conv(conv, x)
    try:
        maps, response = [], None
        for peak in peaks.tolist():
            if response is None or not retain:
                leaf = images.clone().requires_grad_()
                response = network(leaf)
            leaf.grad = None
            seed = torch.zeros_like(response)
            seed[tuple(peak)] = 1
            response.backward(seed, retain_graph=retain)
            prm = leaf.grad[0].sum(0).clamp(min=0)
            maps.append(prm / prm.sum())
        return torch.stack(maps)
    finally:
        for conv in convs:
            del conv.forward
