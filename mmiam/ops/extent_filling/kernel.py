"""The filling steps as an autograd function that keeps only its inputs and every S-th step.

Legend: I instances, M planes (channels that share no weights), H x W locations, P = H * W, r the window's
side, T = r * r taps (row-major over the window), N steps, Q = P + 2 * margin.

What makes it fast and small:

- A plane lies flat, with ``margin`` = (r // 2) * (W + 1) zeros before and after. Neighbor (dy, dx) of every location
  is then one contiguous slice, shifted by dy * W + dx, and a step is T multiply-adds in place. Slices run over the
  row ends into the next row; the weights of neighbors outside the image are zero, so what is read there does not
  count.
- Planes are independent: they go through all N steps in blocks whose weights and values stay in the cache, instead of
  all planes going through step 1, then through step 2. Cores take whole blocks.
- Forward keeps every S-th step. Backward runs the S steps from the last of them again, then those from the one before,
  and so on: no step is run a third time, and the history stays small enough for the cache, whatever N is.
- The step of the gradient is the same step with shifted weights, read from the same flat copy by other slices.
- Operators come from as few lines of Python as possible: cores that divide the work wait for each other there.

Measured for one instance at C = 16, r = 3, 112 x 112, N = 112, float32, against ``F.unfold`` and autograd, on one core
of a busy machine: forward 54 ms (0.50 s); with backward 0.26 s (1.23 s); on two cores with backward 0.13 s (0.88 s) and
41 MiB (935 MiB). What is left is traffic between cache and core: each multiply-add reads three planes and writes one.
All taps as one product and one sum move as much and took a fifth longer on one core; ``torch._foreach_addcmul_`` gained
nothing.
``tools/analysis_tools/benchmark.py ops`` measures again.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmiam.ops.parallel import limit_of, num_workers, run_parts

# Values that an operation works on. With fewer, calling costs more than computing; more do not fit the cache. Our
# choice, the flat optimum at 112 x 112, measured on one core; larger on other devices, where starting an operation
# costs more.
_BLOCK_VALUES = {'cpu': 200_000, 'other': 16_000_000}
# Values of history (S steps of one block) that backward keeps at a time, unless S is then below the root of N.
_HISTORY_VALUES = {'cpu': 3_000_000, 'other': 256_000_000}


def window_inside(height: int, width: int, kernel_size: int, device: torch.device | None = None) -> Tensor:
    """Mark the neighbors of each location that lie in the image: bool, has shape (T, H, W), window row-major."""
    offsets = torch.arange(kernel_size, device=device) - kernel_size // 2
    rows = torch.arange(height, device=device) + offsets[:, None]
    cols = torch.arange(width, device=device) + offsets[:, None]
    rows_in = (rows >= 0) & (rows < height)
    cols_in = (cols >= 0) & (cols < width)
    return (rows_in[:, None, :, None] & cols_in[None, :, None, :]).flatten(0, 1)


class _Layout:
    """Flat planes with margins: where a plane lies in its buffer, and where its neighbors are."""

    def __init__(self, size: tuple[int, int], kernel_size: int, num_steps: int) -> None:
        self.size, self.kernel_size, self.num_steps = size, kernel_size, num_steps
        self.locations = size[0] * size[1]
        self.margin = (kernel_size // 2) * (size[1] + 1)
        self.length = self.locations + 2 * self.margin
        self.offsets = [y * size[1] + x for y in range(kernel_size) for x in range(kernel_size)]

    def blocks(self, num: int, planes: int, device: torch.device) -> list[tuple[slice, list[slice]]]:
        """Blocks of planes, each with blocks of instances: [(planes, [instances, ...]), ...]."""
        maps = max(1, limit_of(_BLOCK_VALUES, device) // self.locations)
        some = max(1, min(num, maps))
        step = max(1, min(-(-planes // num_workers(device)), maps // some))
        instances = [slice(i, i + some) for i in range(0, num, some)]
        return [(slice(p, p + step), instances) for p in range(0, planes, step)]

    def stretch(self, blocks: list[tuple[slice, list[slice]]], device: torch.device) -> int:
        """Steps S from one kept step to the next."""
        planes, instances = blocks[0]
        values = planes.stop * instances[0].stop * self.length
        steps = limit_of(_HISTORY_VALUES, device) // values
        # no shorter than sqrt(N): a shorter stretch is a shorter history, but more steps would be kept than it saves
        stretches = math.ceil(self.num_steps / max(1, steps, math.isqrt(self.num_steps)))
        return math.ceil(self.num_steps / stretches)

    def center(self, buffer: Tensor) -> Tensor:
        """Return a view of the planes without margins, (..., Q) -> (..., P)."""
        return buffer.narrow(-1, self.margin, self.locations)

    def neighbors(self, buffer: Tensor) -> Tensor:
        """Return a view of the neighbors of every location, (..., Q) -> (r, r, ..., P)."""
        return buffer.as_strided((self.kernel_size, self.kernel_size, *buffer.shape[:-1], self.locations),
                                 (self.size[1], 1, *buffer.stride()), buffer.storage_offset())

    def taps(self, weights: Tensor) -> Tensor:
        """Lay out the weights (M, T, P) of a block as flat planes with margins (T, M, Q), zero outside the image."""
        flat = weights.new_zeros(weights.size(1), weights.size(0), self.length)
        torch.mul(weights.transpose(0, 1), self.inside(weights)[:, None], out=self.center(flat))
        return flat

    def inside(self, like: Tensor) -> Tensor:
        """1 where a tap's neighbor lies in the image, else 0; has shape (T, P)."""
        return window_inside(*self.size, self.kernel_size, like.device).flatten(1).to(like.dtype)

    def adjoint_taps(self, taps: Tensor) -> list[Tensor]:
        """Return views of ``taps`` with which :func:`_step` carries gradients back: tap t read at its neighbor."""
        # The transpose of a gather is a scatter, which adds to places that others add to as well. But what location i
        # sends to its neighbor is what the neighbor fetches from i: a gather again, by the tap on the other side.
        return [taps[t].narrow(-1, 2 * self.margin - self.offsets[t], self.locations)
                for t in reversed(range(len(self.offsets)))]


def _unbind(neighbors: Tensor) -> list[Tensor]:
    return [tap for row in neighbors.unbind(0) for tap in row.unbind(0)]


def _step(out: Tensor, neighbors: Sequence[Tensor], taps: Sequence[Tensor]) -> None:
    """Run one filling step, Eq. (3): out = sum over taps of weight times neighbor, in place."""
    torch.mul(neighbors[0], taps[0], out=out)
    for neighbor, tap in zip(neighbors[1:], taps[1:]):
        out.addcmul_(neighbor, tap)


def _ping_pong(layout: _Layout, start: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Make two buffers that take turns: their planes (the first filled with ``start``) and their neighbors."""
    buffers = start.new_zeros(2, *start.shape[:-1], layout.length).unbind(0)
    centers = [layout.center(buffer) for buffer in buffers]
    centers[0].copy_(start)
    return centers, [_unbind(layout.neighbors(buffer)) for buffer in buffers]


def _fill_block(layout: _Layout, start: Tensor, taps: list[Tensor], kept: Tensor | None = None,
                stretch: int = 0) -> Tensor:
    """Run all steps for a block, (I, M, P) -> (I, M, P), and copy G^S, G^2S, ... into ``kept`` (..., I, M, P) if given.
    """
    centers, neighbors = _ping_pong(layout, start)
    # two buffers in turn: in place, a step would read neighbors that it has already replaced
    for k in range(layout.num_steps):
        if kept is not None and k and k % stretch == 0:
            kept[k // stretch - 1] = centers[k % 2]
        _step(centers[1 - k % 2], neighbors[k % 2], taps)
    return centers[layout.num_steps % 2]


class _History:
    """Room for the steps of one stretch of a block, with views on every step's neighbors."""

    def __init__(self, layout: _Layout, steps: int, block: Tensor) -> None:
        """Allocate the room; ``block`` (I, M, P) gives the size."""
        buffer = block.new_empty(steps, *block.shape[:2], layout.length)
        buffer[..., :layout.margin].zero_()
        buffer[..., layout.margin + layout.locations:].zero_()
        windows = layout.neighbors(buffer)
        self.centers = layout.center(buffer).unbind(0)
        self.neighbors = list(zip(*(tap.unbind(0) for tap in _unbind(windows))))
        self.windows = [step.unbind(0) for step in windows.permute(2, 3, 4, 0, 1, 5).unbind(0)]  # (M, r, r, P) each

    def run(self, start: Tensor, steps: int, taps: list[Tensor]) -> None:
        """Store ``start`` (I, M, P) and the ``steps`` - 1 steps that follow it."""
        self.centers[0].copy_(start)
        for k in range(steps - 1):
            _step(self.centers[k + 1], self.neighbors[k], taps)


def _backward_block(layout: _Layout, grad: Tensor, taps: Tensor, starts: list[Tensor], stretch: int,
                    grad_weights: Tensor) -> Tensor:
    """Carry the gradient of G^N back to G^0, (I, M, P), adding to ``grad_weights`` (M, T, P) on the way.

    ``starts``: G^0, G^S, G^2S, ...
    """
    centers, neighbors = _ping_pong(layout, grad)
    gradients = [center[:, :, None, None].unbind(0) for center in centers]
    forward_taps, adjoint_taps = layout.center(taps).unbind(0), layout.adjoint_taps(taps)
    target = grad_weights.unflatten(1, (layout.kernel_size, layout.kernel_size))
    history = _History(layout, stretch, grad)
    turn = 0
    for first, start in reversed(list(zip(range(0, layout.num_steps, stretch), starts))):
        steps = min(stretch, layout.num_steps - first)
        history.run(start, steps, forward_taps)
        for k in reversed(range(steps)):
            for window, gradient in zip(history.windows[k], gradients[turn]):
                target.addcmul_(window, gradient)
            _step(centers[1 - turn], neighbors[turn], adjoint_taps)
            turn = 1 - turn
    return centers[turn]


class ExtentFilling(Function):
    """N filling steps of instances that share one image's weights.

    ``apply(features (I, M, H, W), weights (M, T, H, W), num_steps) -> (I, M, H, W)``; neighbors outside the image
    count as zero, whatever their weight. Differentiable once, with respect to features and weights.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weights: Tensor, num_steps: int) -> Tensor:
        layout = _Layout(features.shape[-2:], round(weights.size(1)**.5), num_steps)
        blocks = layout.blocks(features.size(0), features.size(1), features.device)
        out = torch.empty_like(features, memory_format=torch.contiguous_format)
        flat_in, flat_out, flat_weights = features.flatten(2), out.flatten(2), weights.flatten(2)
        kept, stretch = None, layout.stretch(blocks, features.device)
        if any(ctx.needs_input_grad):
            kept = features.new_empty((num_steps - 1) // stretch, *flat_in.shape)

        def fill(part):
            planes, instances = part
            taps = layout.center(layout.taps(flat_weights[planes])).unbind(0)
            for some in instances:
                steps = None if kept is None else kept[:, some, planes]
                flat_out[some, planes] = _fill_block(layout, flat_in[some, planes], taps, steps, stretch)

        run_parts(fill, blocks, features.device)
        ctx.save_for_backward(features, weights, kept)
        ctx.plan = layout, blocks, stretch
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        features, weights, kept = ctx.saved_tensors
        layout, blocks, stretch = ctx.plan
        grad_features = torch.empty(features.shape, dtype=grad.dtype, device=grad.device)
        grad_weights = torch.empty(weights.shape, dtype=grad.dtype, device=grad.device)
        flat_in, flat_grad, flat_out = features.flatten(2), grad.flatten(2), grad_features.flatten(2)
        flat_weights, flat_target = weights.flatten(2), grad_weights.flatten(2)

        def fill_back(part):
            planes, instances = part
            taps, target = layout.taps(flat_weights[planes]), flat_target[planes].zero_()
            for some in instances:
                starts = [flat_in[some, planes], *kept[:, some, planes]]
                flat_out[some, planes] = _backward_block(layout, flat_grad[some, planes], taps, starts, stretch, target)
            # beyond a row's end the windows hold values of the next row: no gradient of any weight
            target.mul_(layout.inside(target))

        run_parts(fill_back, blocks, features.device)
        return grad_features, grad_weights, None
