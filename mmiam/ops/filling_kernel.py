"""The filling steps as an autograd function that keeps nothing but its inputs.

Legend of shapes: I instances, M planes (channels that share no weights), H x W locations, P = H * W, r the window's
side, T = r * r taps (row-major over the window), N steps, Q = P + 2 * margin.

What makes it fast and small:

- A plane lies flat, with ``margin`` = (r // 2) * (W + 1) zeros before and after. Neighbour (dy, dx) of every location
  is then one contiguous slice, shifted by dy * W + dx, and a step is T multiply-adds in place. Slices run over the
  row ends into the next row; the weights of neighbours outside the image are zero, so what is read there does not
  count.
- No plane needs another one: planes go through all N steps in blocks of a size whose weights and values stay in
  the cache, instead of all planes going through step 1, then through step 2. Cores take whole blocks.
- Backward runs the steps of a block again, this time keeping its G^0 ... G^{N-1}; they are gone with the block.
- The step of the gradient is the same step with shifted weights, read from the same flat copy by other slices.

Measured at C = 16, r = 3, 112 x 112, N = 112, float32, one core, against ``F.unfold`` and autograd: forward 37 ms
(327 ms); with backward 0.15 s and 44 MiB (0.68 s, 931 MiB) for one instance, 3.5 s and 56 MiB (31 s, 6.8 GiB) for
eight; on two cores 0.10 s and 75 MiB, 0.95 s and 112 MiB. What is left is traffic between cache and core: each
multiply-add reads three planes and writes one. All taps as one product and one sum move as much and took a fifth
longer; ``torch._foreach_addcmul_`` gained nothing. ``tools/analysis_tools/benchmark_ops.py`` measures again.
"""
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .parallel import num_workers, run_parts

# Values an operation works on. Fewer: calling costs more than computing; more: the cache is left. Our choice, the
# flat optimum at 112 x 112, measured on one core; on other devices, where starting an operation costs more, larger.
_BLOCK_VALUES = {'cpu': 200_000, 'other': 16_000_000}
# Values of history (N steps of one block) that backward keeps at a time; at least one plane of one instance.
_HISTORY_VALUES = {'cpu': 6_000_000, 'other': 256_000_000}


def window_inside(height: int, width: int, kernel_size: int, device: torch.device | None = None) -> Tensor:
    """Which neighbours of each location lie in the image: bool, has shape (T, H, W), window row-major."""
    offsets = torch.arange(kernel_size, device=device) - kernel_size // 2
    rows = torch.arange(height, device=device) + offsets[:, None]
    cols = torch.arange(width, device=device) + offsets[:, None]
    rows_in = (rows >= 0) & (rows < height)
    cols_in = (cols >= 0) & (cols < width)
    return (rows_in[:, None, :, None] & cols_in[None, :, None, :]).flatten(0, 1)


class _Layout:
    """Flat planes with margins: where a plane lies in its buffer, and where its neighbours are."""

    def __init__(self, size: tuple[int, int], kernel_size: int, num_steps: int, like: Tensor) -> None:
        self.size, self.kernel_size, self.num_steps = size, kernel_size, num_steps
        self.locations = size[0] * size[1]
        self.margin = (kernel_size // 2) * (size[1] + 1)
        self.length = self.locations + 2 * self.margin
        self.inside = window_inside(*size, kernel_size, like.device).flatten(1)
        self.offsets = [y * size[1] + x for y in range(kernel_size) for x in range(kernel_size)]

    def blocks(self, num: int, planes: int, kept_steps: int, device: str) -> list[tuple[slice, list[slice]]]:
        """Blocks of planes, each with blocks of instances: [(planes, [instances, ...]), ...]."""
        kind = 'cpu' if device == 'cpu' else 'other'
        values = _BLOCK_VALUES[kind]
        if kept_steps:
            values = min(values, _HISTORY_VALUES[kind] // kept_steps)
        maps = max(1, values // self.locations)
        some = max(1, min(num, maps))
        step = max(1, min(-(-planes // num_workers(torch.device(device))), maps // some))
        instances = [slice(i, i + some) for i in range(0, num, some)]
        return [(slice(p, p + step), instances) for p in range(0, planes, step)]

    def centre(self, buffer: Tensor) -> Tensor:
        """The planes themselves, (..., Q) -> (..., P), a view."""
        return buffer.narrow(-1, self.margin, self.locations)

    def neighbours(self, buffer: Tensor) -> Tensor:
        """Neighbours of every location, (..., Q) -> (r, r, ..., P), a view."""
        return buffer.as_strided((self.kernel_size, self.kernel_size, *buffer.shape[:-1], self.locations),
                                 (self.size[1], 1, *buffer.stride()), buffer.storage_offset())

    def empty_history(self, block: Tensor) -> Tensor:
        """Room for every step of a block (I, M, P), zero in the margins only: (N, I, M, Q)."""
        history = block.new_empty(self.num_steps, *block.shape[:2], self.length)
        history[..., :self.margin].zero_()
        history[..., self.margin + self.locations:].zero_()
        return history

    def taps(self, weights: Tensor) -> Tensor:
        """Weights (M, T, P) of a block as flat planes with margins (T, M, Q), zero outside the image."""
        flat = weights.new_zeros(weights.size(1), weights.size(0), self.length)
        torch.mul(weights.transpose(0, 1), self.inside[:, None], out=self.centre(flat))
        return flat

    def adjoint_taps(self, taps: Tensor) -> list[Tensor]:
        """Views on ``taps`` with which :func:`_step` carries gradients back: tap t read at its neighbour."""
        return [taps[t].narrow(-1, 2 * self.margin - self.offsets[t], self.locations)
                for t in reversed(range(len(self.offsets)))]


def _unbind(neighbours: Tensor) -> list[Tensor]:
    return [tap for row in neighbours.unbind(0) for tap in row.unbind(0)]


def _step(out: Tensor, neighbours: list[Tensor], taps: list[Tensor]) -> None:
    """One filling step, Eq. (3): out = sum over taps of weight times neighbour, in place."""
    torch.mul(neighbours[0], taps[0], out=out)
    for neighbour, tap in zip(neighbours[1:], taps[1:]):
        out.addcmul_(neighbour, tap)


def _ping_pong(layout: _Layout, start: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Two buffers that take turns: their planes (the first filled with ``start``) and their neighbours."""
    buffers = start.new_zeros(2, *start.shape[:-1], layout.length).unbind(0)
    centres = [layout.centre(buffer) for buffer in buffers]
    centres[0].copy_(start)
    return centres, [_unbind(layout.neighbours(buffer)) for buffer in buffers]


def _forward_block(layout: _Layout, features: Tensor, taps: list[Tensor]) -> Tensor:
    """All steps for a block: features (I, M, P) -> (I, M, P)."""
    centres, neighbours = _ping_pong(layout, features)
    for k in range(layout.num_steps):
        _step(centres[1 - k % 2], neighbours[k % 2], taps)
    return centres[layout.num_steps % 2]


def _history_block(layout: _Layout, features: Tensor, taps: list[Tensor], history: Tensor) -> None:
    """G^0 ... G^{N-1} of a block into ``history`` (N, I, M, Q), whose margins are zero."""
    layout.centre(history[0]).copy_(features)
    for k in range(layout.num_steps - 1):
        _step(layout.centre(history[k + 1]), _unbind(layout.neighbours(history[k])), taps)


def _backward_block(layout: _Layout, grad: Tensor, adjoint_taps: list[Tensor], history: Tensor | None,
                    grad_weights: Tensor | None) -> Tensor:
    """Gradient of G^N -> gradient of G^0, (I, M, P); adds to ``grad_weights`` (M, T, P) on the way."""
    centres, neighbours = _ping_pong(layout, grad)
    side = layout.kernel_size
    for k in reversed(range(layout.num_steps)):
        turn = (layout.num_steps - 1 - k) % 2
        if grad_weights is not None:
            target = grad_weights.unflatten(1, (side, side))
            for values, gradient in zip(history[k], centres[turn]):
                target.addcmul_(layout.neighbours(values).permute(2, 0, 1, 3), gradient[:, None, None])
        _step(centres[1 - turn], neighbours[turn], adjoint_taps)
    return centres[layout.num_steps % 2]


class ExtentFilling(Function):
    """N filling steps of instances that share one image's weights.

    ``apply(features (I, M, H, W), weights (M, T, H, W), num_steps) -> (I, M, H, W)``; neighbours outside the image
    count as zero whatever their weight. Differentiable once, in features and weights.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weights: Tensor, num_steps: int) -> Tensor:
        ctx.save_for_backward(features, weights)
        ctx.num_steps = num_steps
        layout = _Layout(features.shape[-2:], round(weights.size(1)**.5), num_steps, features)
        out = torch.empty_like(features, memory_format=torch.contiguous_format)
        flat_in, flat_out, flat_weights = features.flatten(2), out.flatten(2), weights.flatten(2)

        def fill(part):
            planes, blocks = part
            taps = [layout.centre(tap) for tap in layout.taps(flat_weights[planes])]
            for block in blocks:
                flat_out[block, planes] = _forward_block(layout, flat_in[block, planes], taps)

        run_parts(fill, layout.blocks(*features.shape[:2], 0, features.device.type), features.device)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        features, weights = ctx.saved_tensors
        steps, (need_features, need_weights, _) = ctx.num_steps, ctx.needs_input_grad
        layout = _Layout(features.shape[-2:], round(weights.size(1)**.5), steps, features)
        grad_features = torch.empty(features.shape, dtype=grad.dtype, device=grad.device)
        grad_weights = torch.zeros(weights.shape, dtype=grad.dtype, device=grad.device) if need_weights else None
        flat_in, flat_grad, flat_out = features.flatten(2), grad.flatten(2), grad_features.flatten(2)
        flat_weights = weights.flatten(2)

        def fill_back(part):
            planes, blocks = part
            history = None
            taps = layout.taps(flat_weights[planes])
            centres, adjoint = [layout.centre(tap) for tap in taps], layout.adjoint_taps(taps)
            block_grad = grad_weights.flatten(2)[planes] if need_weights else None
            for block in blocks:
                part, kept = flat_in[block, planes], None
                if need_weights:
                    if history is None:
                        history = layout.empty_history(part)
                    kept = history[:, :part.size(0), :part.size(1)]
                    _history_block(layout, part, centres, kept)
                flat_out[block, planes] = _backward_block(layout, flat_grad[block, planes], adjoint, kept, block_grad)
            if need_weights:
                block_grad.mul_(layout.inside)

        blocks = layout.blocks(*features.shape[:2], steps if need_weights else 0, features.device.type)
        run_parts(fill_back, blocks, features.device)
        return grad_features if need_features else None, grad_weights, None
