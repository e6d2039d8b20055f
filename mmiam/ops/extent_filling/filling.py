"""Instance extent filling (Sec. 3.2 of the paper).

    G^k = F(G^{k-1}, W),  G^0 = the encoded cue,  0 < k <= N                                     Eq. (2)
    G^k_{c;ij} = sum over (u,v) in N_ij of Y_{c;ij} W_{c;ij;uv} G^{k-1}_{c;uv}                    Eq. (3)

Eq. (3) is printed with E, the encoded cue, on its right side. Taken literally, every step would give the same result;
Eq. (2) and Fig. 4 have G^{k-1} there, as does this module.

Legend: I instances, B images, C channels, H x W locations, r the window's side, N filling steps. N_ij are the
r * r neighbors of (i, j), itself included; those outside the image do not exist.
"""
from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernel import ExtentFilling, window_inside

NORMALIZE_MODES = ('softmax', 'relu_sum', 'abs_sum')


def normalize_filling_weights(logits: Tensor, kernel_size: int = 3, mode: str = 'softmax') -> Tensor:
    """Normalize filling weights: the Y of Eq. (3), by which the weights of a window sum to 1.

    Neighbors outside the image are left out before normalizing, so that nothing leaks across the border. The paper does
    not say how it treats the border; this is our choice, because with zero padding a constant field fades from the
    border inwards. Nor does it say how Y makes the sum 1; the default is softmax, because its sum cannot be zero.

    Args:
        logits (Tensor): Output of the weight pyramid, has shape (B, C*r*r, H, W), channel c*r*r + k for tap k of
            channel c as in ``F.unfold``, k row-major over the window.
        kernel_size (int): The window's side r, odd. Defaults to 3 (Fig. 5 shows eight neighbors).
        mode (str): 'softmax' over the window; 'relu_sum': max(x, 0) over its sum; 'abs_sum': abs(x) over its sum.
            Where such a sum is zero, all neighbors in the image get equal weights. Defaults to 'softmax'.

    Returns:
        Tensor: Weights in [0, 1], has shape (B, C, r*r, H, W): over the third axis they sum to 1, and are exactly 0
        for neighbors outside the image.

    Raises:
        ValueError: If the mode is unknown, r is even, or the channels are not a multiple of r*r.
    """
    if mode not in NORMALIZE_MODES:
        raise ValueError(f'mode must be one of {NORMALIZE_MODES}, got {mode!r}')
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
    if logits.dim() != 4 or logits.size(1) % kernel_size**2:
        raise ValueError(f'logits must be (B, C*{kernel_size**2}, H, W), got shape {tuple(logits.shape)}')
    inside = window_inside(logits.size(-2), logits.size(-1), kernel_size, logits.device)
    logits = logits.unflatten(1, (-1, kernel_size**2))
    if mode == 'softmax':
        return logits.masked_fill(~inside, float('-inf')).softmax(dim=2)
    values = (logits.relu() if mode == 'relu_sum' else logits.abs()) * inside
    total = values.sum(2, keepdim=True)
    some = total > 0
    uniform = (inside / inside.sum(0)).to(values.dtype)
    # the inner torch.where keeps 0 / 0 out of the backward pass
    return torch.where(some, values / torch.where(some, total, 1), uniform)


def _check(features: Tensor, weights: Tensor, num_steps: int, image_index: Tensor | None) -> None:
    if features.dim() != 4 or weights.dim() != 5:
        raise ValueError('features must be (I, C, H, W) and weights (B, C, r*r, H, W), got '
                         f'{tuple(features.shape)} and {tuple(weights.shape)}')
    if features.shape[1:] != (weights.size(1), *weights.shape[3:]):
        raise ValueError('features and weights differ in channels or size: '
                         f'{tuple(features.shape)} and {tuple(weights.shape)}')
    side = round(weights.size(2)**.5)
    if side * side != weights.size(2) or side % 2 == 0:
        raise ValueError(f'the third axis of weights must be r*r with r odd, got {weights.size(2)}')
    if num_steps < 0:
        raise ValueError(f'num_steps must not be negative, got {num_steps}')
    images, num = weights.size(0), features.size(0)
    if image_index is None:
        if num and images not in (1, num):
            raise ValueError(f'{num} instances and weights of {images} images: image_index must say which instance '
                             'belongs to which image')
    elif image_index.shape != (num,):
        raise ValueError(f'image_index must be ({num},), got shape {tuple(image_index.shape)}')
    elif num and not 0 <= int(image_index.min()) <= int(image_index.max()) < images:
        raise ValueError(f'image_index must be in [0, {images}), got {image_index.tolist()}')


def extent_filling(features: Tensor, weights: Tensor, num_steps: int, image_index: Tensor | None = None) -> Tensor:
    """Replace each value ``num_steps`` times by the weighted sum of its neighbors (Eq. 2 and 3).

    The instances of an image share its weights, which are not copied per instance. Gradients flow to features and
    weights (once; a second derivative raises). If a gradient is needed, only a few of the N steps are kept for
    backward (3 at the paper's size) and the others run again, see ``kernel.py``. In half precision and under autocast,
    the steps are computed in float32, because their N roundings add up, and returned in the features' dtype. On CUDA,
    for r = 3 and if Triton works, a step is one launch for all images (``triton_kernel.py``).

    Args:
        features (Tensor): Encoded cues G^0, has shape (I, C, H, W).
        weights (Tensor): Weights from :func:`normalize_filling_weights`, has shape (B, C, r*r, H, W). Neighbors
            outside the image count as zero, whatever their weight.
        num_steps (int): Number of steps N; the paper takes the side of the encoded map, so that a value can reach
            every location. 0 returns the features themselves.
        image_index (Tensor | None): Which image's weights each instance takes, long, has shape (I,). None: the
            weights of one image serve all instances (B = 1), or one image serves each instance (B = I). Keep it on the
            CPU, whatever the device of the rest, so that nothing has to wait for it. Defaults to None.

    Returns:
        Tensor: G^N, has shape (I, C, H, W).

    Raises:
        ValueError: If shapes do not agree, r is even, ``num_steps`` is negative or an image index out of range.
    """
    image_index = None if image_index is None else image_index.cpu()
    _check(features, weights, num_steps, image_index)
    images = weights.size(0)
    if num_steps == 0 or features.numel() == 0:
        return features
    dtype = torch.promote_types(torch.promote_types(features.dtype, weights.dtype), torch.float32)
    values, weights = features.to(dtype), weights.to(dtype)
    on_gpu = values.device.type != 'cpu' and dtype == torch.float32 and weights.size(2) == 9
    fill = _gpu_filling(values.device) if on_gpu else None
    if fill is not None:
        return _fill_on_gpu(fill, values, weights, num_steps, image_index).to(features.dtype)
    if image_index is None and images > 1:  # one to one: the planes of all images side by side
        filled = ExtentFilling.apply(values.flatten(0, 1)[None], weights.flatten(0, 1), num_steps)
        return filled.view_as(features).to(features.dtype)
    if images == 1:
        return ExtentFilling.apply(values, weights.flatten(0, 1), num_steps).to(features.dtype)
    members = [torch.eq(image_index, image).nonzero()[:, 0] for image in range(images)]
    parts = [ExtentFilling.apply(values[own], weights[image], num_steps)
             for image, own in enumerate(members) if len(own)]
    order = torch.cat(members).argsort()
    return torch.cat(parts)[order].to(features.dtype)


@cache
def _gpu_filling(device: torch.device) -> Any:
    """Return ``FillingOnGPU``, tried on one value, or None with a warning if Triton or its compiler does not work."""
    try:
        from .triton_kernel import FillingOnGPU
        with torch.cuda.device_of(torch.empty(0, device=device)):
            one = torch.ones(9, device=device)
            FillingOnGPU.apply(one[:1].view(1, 1, 1, 1), one.view(1, 1, 9, 1, 1), torch.arange(2).int().to(device), 1)
    except Exception as error:  # missing, or one of the many ways in which a compiler fails
        warnings.warn(f'filling takes nine times the launches on {device}: Triton does not work '
                      f'({type(error).__name__}: {error})', stacklevel=4)
        return None
    return FillingOnGPU


def _fill_on_gpu(fill: Any, values: Tensor, weights: Tensor, num_steps: int, image_index: Tensor | None) -> Tensor:
    """Fill all images in one call of ``fill``: :func:`extent_filling` of float32 values, with the index on the CPU."""
    if image_index is None:
        image_index = torch.arange(len(values)) if len(weights) > 1 else torch.zeros(len(values), dtype=torch.long)
    starts = F.pad(torch.bincount(image_index, minlength=len(weights)).cumsum(0), (1, 0)).int()
    starts = starts.to(values.device, non_blocking=True)
    ordered = bool((image_index.diff() >= 0).all())
    order = image_index.argsort(stable=True)
    if not ordered:
        values = values[order.to(values.device)]
    with torch.cuda.device_of(values):  # Triton launches on the current device
        filled = fill.apply(values.contiguous(), weights.contiguous(), starts, num_steps)
    return filled if ordered else filled[order.argsort().to(filled.device)]
