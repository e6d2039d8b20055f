"""Filling steps on a GPU: one launch per step, for all instances of all images.

The steps of ``kernel.py``, which is their reference, for r = 3 and float32. Written in Triton, which comes with torch
for CUDA; without it, on a CPU and for other windows ``kernel.py`` fills. Compared with it in Triton's interpreter and
compiled for sm_90; not yet run on a GPU.

A program handles a block of locations of one plane of one image. It keeps the nine weights of each location in
registers and loops over the image's instances. Weights are thus read once per step, whatever the number of instances,
and their gradient, a sum over instances, is added up without atomic operations and is the same in every run.

Legend: I instances ordered by image, B images (those of image b are from starts[b] to starts[b + 1]), C channels,
H x W = P locations, taps 0 to 8 row-major over the window, N steps.
"""
from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_BLOCK = 256  # locations of a program; our choice, not tuned
_HISTORY_VALUES = 256_000_000  # values of history that backward keeps at a time, as in kernel.py


@triton.jit
def _places(H, W, BLOCK: tl.constexpr):
    """Compute the locations of this program, and which of them are in the image and have a neighbor on each side."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here, x = p < H * W, p % W
    return p, here, here & (p >= W), p < (H - 1) * W, here & (x > 0), here & (x < W - 1)


@triton.jit
def _nine(start, stride, W, here, up, down, left, right):
    """Load the values at ``start`` + t * ``stride`` + the offset of tap t, zero outside the image."""
    return (tl.load(start - W - 1, mask=up & left, other=0.),
            tl.load(start + stride - W, mask=up, other=0.),
            tl.load(start + 2 * stride - W + 1, mask=up & right, other=0.),
            tl.load(start + 3 * stride - 1, mask=left, other=0.),
            tl.load(start + 4 * stride, mask=here, other=0.),
            tl.load(start + 5 * stride + 1, mask=right, other=0.),
            tl.load(start + 6 * stride + W - 1, mask=down & left, other=0.),
            tl.load(start + 7 * stride + W, mask=down, other=0.),
            tl.load(start + 8 * stride + W + 1, mask=down & right, other=0.))


@triton.jit
def _fill(source, target, weights, starts, C, H, W, BLOCK: tl.constexpr):
    """Run one filling step, Eq. (3)."""
    p, here, up, down, left, right = _places(H, W, BLOCK)
    c, image = tl.program_id(1), tl.program_id(2)
    P = H * W
    own = weights + ((image * C + c) * 9).to(tl.int64) * P + p
    # Nine names, as Triton has no arrays in registers. They are loaded once for all instances of the image: a program
    # an instance would fetch them, nine times as much as its values, again for each.
    w0, w1 = tl.load(own, mask=here, other=0.), tl.load(own + P, mask=here, other=0.)
    w2, w3 = tl.load(own + 2 * P, mask=here, other=0.), tl.load(own + 3 * P, mask=here, other=0.)
    w4, w5 = tl.load(own + 4 * P, mask=here, other=0.), tl.load(own + 5 * P, mask=here, other=0.)
    w6, w7 = tl.load(own + 6 * P, mask=here, other=0.), tl.load(own + 7 * P, mask=here, other=0.)
    w8 = tl.load(own + 8 * P, mask=here, other=0.)
    for i in range(tl.load(starts + image), tl.load(starts + image + 1)):
        at = (i * C + c).to(tl.int64) * P + p
        g0, g1, g2, g3, g4, g5, g6, g7, g8 = _nine(source + at, 0, W, here, up, down, left, right)
        total = w0 * g0 + w1 * g1 + w2 * g2 + w3 * g3 + w4 * g4 + w5 * g5 + w6 * g6 + w7 * g7 + w8 * g8
        tl.store(target + at, total, mask=here)


@triton.jit
def _fill_back(grad, target, weights, starts, source, grad_weights, C, H, W, BLOCK: tl.constexpr):
    """Apply the transposed step to the gradient, and add the weights' gradient, source at each neighbor times grad."""
    p, here, up, down, left, right = _places(H, W, BLOCK)
    c, image = tl.program_id(1), tl.program_id(2)
    P = H * W
    first = ((image * C + c) * 9).to(tl.int64) * P + p
    # what a location sent to its neighbor by tap t comes back by the neighbor's tap on the other side, 8 - t
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = _nine(weights + first + 8 * P, -P, W, here, up, down, left, right)
    v0 = p * 0.
    v1, v2, v3, v4, v5, v6, v7, v8 = v0, v0, v0, v0, v0, v0, v0, v0
    for i in range(tl.load(starts + image), tl.load(starts + image + 1)):
        at = (i * C + c).to(tl.int64) * P + p
        g0, g1, g2, g3, g4, g5, g6, g7, g8 = _nine(grad + at, 0, W, here, up, down, left, right)
        total = w0 * g0 + w1 * g1 + w2 * g2 + w3 * g3 + w4 * g4 + w5 * g5 + w6 * g6 + w7 * g7 + w8 * g8
        tl.store(target + at, total, mask=here)
        s0, s1, s2, s3, s4, s5, s6, s7, s8 = _nine(source + at, 0, W, here, up, down, left, right)
        v0, v1, v2 = v0 + g4 * s0, v1 + g4 * s1, v2 + g4 * s2
        v3, v4, v5 = v3 + g4 * s3, v4 + g4 * s4, v5 + g4 * s5
        v6, v7, v8 = v6 + g4 * s6, v7 + g4 * s7, v8 + g4 * s8
    # no atomics: this program alone has all instances of these weights, and steps come one after the other
    own = grad_weights + first
    tl.store(own, tl.load(own, mask=here) + v0, mask=here)
    tl.store(own + P, tl.load(own + P, mask=here) + v1, mask=here)
    tl.store(own + 2 * P, tl.load(own + 2 * P, mask=here) + v2, mask=here)
    tl.store(own + 3 * P, tl.load(own + 3 * P, mask=here) + v3, mask=here)
    tl.store(own + 4 * P, tl.load(own + 4 * P, mask=here) + v4, mask=here)
    tl.store(own + 5 * P, tl.load(own + 5 * P, mask=here) + v5, mask=here)
    tl.store(own + 6 * P, tl.load(own + 6 * P, mask=here) + v6, mask=here)
    tl.store(own + 7 * P, tl.load(own + 7 * P, mask=here) + v7, mask=here)
    tl.store(own + 8 * P, tl.load(own + 8 * P, mask=here) + v8, mask=here)


class FillingOnGPU(Function):
    """``apply(features (I, C, H, W), weights (B, C, 9, H, W), starts (B + 1,) int32, num_steps) -> (I, C, H, W)``.

    All contiguous float32 on one device; differentiable once, in features and weights.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weights: Tensor, starts: Tensor, num_steps: int) -> Tensor:
        # no shorter than sqrt(N): a shorter stretch is a shorter history, but more steps would be kept than it saves
        stretch = min(num_steps, max(1, math.isqrt(num_steps), _HISTORY_VALUES // features.numel()))
        kept, now = [features], features
        turns = torch.empty_like(features), torch.empty_like(features)  # in place a step would read its own results
        for k in range(num_steps):
            if any(ctx.needs_input_grad) and k and k % stretch == 0:
                kept.append(now.clone())
            now = _step(now, turns[k % 2], weights, starts)
        ctx.save_for_backward(weights, starts, *kept)
        ctx.plan = num_steps, stretch
        return now

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        weights, starts, *kept = ctx.saved_tensors
        (num_steps, stretch), grad = ctx.plan, grad.contiguous()
        turns, grad_weights = (torch.empty_like(grad), torch.empty_like(grad)), torch.zeros_like(weights)
        history = grad.new_empty(stretch - 1, *grad.shape).unbind(0)
        for k in reversed(range(num_steps)):
            if k == num_steps - 1 or (k + 1) % stretch == 0:  # the steps of this stretch run again
                steps = [kept[k // stretch]]
                for room in history[:k % stretch]:
                    steps.append(_step(steps[-1], room, weights, starts))
            _fill_back[_grid(weights)](grad, turns[k % 2], weights, starts, steps[k % stretch], grad_weights,
                                       *grad.shape[1:], BLOCK=_BLOCK)
            grad = turns[k % 2]
        return grad, grad_weights, None, None


def _grid(weights: Tensor) -> tuple[int, int, int]:
    images, channels, _, height, width = weights.shape
    return triton.cdiv(height * width, _BLOCK), channels, images


def _step(source: Tensor, target: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    """Run one filling step of all instances into ``target``."""
    _fill[_grid(weights)](source, target, weights, starts, *source.shape[1:], BLOCK=_BLOCK)
    return target
