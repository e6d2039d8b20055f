"""Transposed operations: how the gradients of many peaks pass back through each operation of a network.

In eval mode an operation is ``out = L(D x)``: a linear map between diagonal factors that depend on the image
alone. Factors are computed once per image and folded by the tape; the linear maps work on all peaks at once.

Shapes: P peaks, I images with peaks, C channels, H x W map, h x w window of it.
"""

from collections.abc import Callable
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .peak_backprop_rules import EPS, ConvLayer, sample_minimum
from .peak_backprop_window import Window, place, simplify, spread, whole

aten = torch.ops.aten
# A diagonal factor: takes the images' indices (I,), returns (I, ...) or one for all images (1, ...).
Factor = Callable[[Tensor], Tensor]


class Operation:
    """An operation between values of the network: sum of its sources, each through ``transpose``.

    Args:
        shape (tuple): Shape of the result in the recorded run.
        source_shapes (list[tuple]): Shapes of those inputs that depend on the image.

    Attributes:
        before (list[Factor]): Diagonal factors on the gradient before the linear map.
        after (list[Factor]): Diagonal factors on its result.
    """

    identity = False

    def __init__(self, shape: tuple, source_shapes: list[tuple]) -> None:
        self.shape, self.source_shapes = tuple(shape), [tuple(source) for source in source_shapes]
        self.before: list[Factor] = []
        self.after: list[Factor] = []

    def elements(self, window: Window | None) -> int:
        """Number of elements of one peak's largest result."""
        return max(prod(shape[1:]) for shape in self.source_shapes)

    def transpose(self, grad: Tensor, window: Window | None, image: Tensor) -> list[tuple[Tensor, Window | None]]:
        """Gradients of the sources on their windows, from that of the result.

        Args:
            grad (Tensor): Gradient of the result, has shape (P, C, h, w) or (P, ...) without a window.
            window (Window, optional): Where it lies on the map.
            image (Tensor): Each peak's image in the recorded batch, has shape (P,).
        """
        raise NotImplementedError


class Identity(Operation):
    """Sums, and with factors every element-wise function: the gradient goes to each source as it is."""

    identity = True

    def elements(self, window: Window | None) -> int:
        return prod(window.size) * self.shape[1] if window is not None else prod(self.shape[1:])

    def transpose(self, grad, window, image):
        return [(grad, window)] * len(self.source_shapes)


class Whole(Operation):
    """An operation that works on whole maps only."""

    def __init__(self, shape: tuple, source_shapes: list[tuple], apply: Callable) -> None:
        super().__init__(shape, source_shapes)
        self.apply = apply

    def transpose(self, grad, window, image):
        if window is not None:
            grad = spread(grad, window, self.shape[2:])
        results = self.apply(grad, image)
        return [(result, None) for result in (results if isinstance(results, list) else [results])]


class PositiveMap(Operation):
    """A convolution or linear layer by Eq. 1: ``x^ * W+^T (g / Z)``.

    Args:
        x (Tensor): The layer's input in the recorded run, samples first.
        weight (Tensor): Its weights.
        layer: What maps ``(x, weight)`` to the output without bias.
    """

    def __init__(self, shape: tuple, x: Tensor, weight: Tensor, layer: Callable) -> None:
        super().__init__(shape, [x.shape])
        self.x, self.raw_weight, self.layer = x, weight, layer
        self.dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.before, self.after = [self.inverse_normalizer], [self.shifted_input]

    @cached_property
    def weight(self) -> Tensor:
        return channels_last(self.raw_weight.to(self.dtype).clamp(min=0))

    @cached_property
    def minimum(self) -> Tensor:
        return sample_minimum(self.x, len(self.x)).to(self.dtype)

    def shifted_input(self, images: Tensor) -> Tensor:
        return channels_last(take(self.x, images).to(self.dtype)) - take(self.minimum, images)

    def inverse_normalizer(self, images: Tensor) -> Tensor:
        with torch.autocast(self.x.device.type, enabled=False):
            z = self.layer(self.shifted_input(images), self.weight)
        empty = z < EPS
        return z.add_(EPS).reciprocal_().masked_fill_(empty, 0)


class Linear(PositiveMap):
    """A linear layer over the last dimension."""

    def transpose(self, grad, window, image):
        if window is not None:
            grad = spread(grad, window, self.shape[2:])
        return [(grad @ self.weight, None)]


class Convolution(PositiveMap):
    """A 2D convolution with any stride, padding, dilation and groups."""

    layer: ConvLayer

    def _spans(self, size: tuple[int, int]) -> list[int]:
        """Height and width that a window of ``size`` reaches in the input."""
        return [(size[axis] - 1) * self.layer.stride[axis]
                + self.layer.dilation[axis] * (self.raw_weight.shape[2 + axis] - 1) + 1 for axis in (0, 1)]

    def elements(self, window: Window | None) -> int:
        size = self.shape[2:] if window is None else window.size
        spans = [min(span, full) for span, full in zip(self._spans(size), self.x.shape[2:])]
        return self.x.shape[1] * prod(spans)

    def transpose(self, grad, window, image):
        layer, full_out, full_in = self.layer, self.shape[2:], self.x.shape[2:]
        count = len(grad)
        window = whole(count, full_out) if window is None else window
        small = [span < full for span, full in zip(self._spans(window.size), full_in)]
        target = Window(
            tuple(tuple(start[axis] if small[axis] else 0 for axis in (0, 1)) for start in window.starts),
            tuple(window.size[axis] if small[axis] else full_out[axis] for axis in (0, 1)))
        grad = place(grad, window, target)
        spans = self._spans(target.size)
        padding = [0 if small[axis] else layer.padding[axis] for axis in (0, 1)]
        rest = [0 if small[axis] else full_in[axis] - spans[axis] + 2 * layer.padding[axis] for axis in (0, 1)]
        result = F.conv_transpose2d(
            grad, self.weight, None, layer.stride, padding, rest, layer.groups, layer.dilation)
        starts = tuple(tuple(start[axis] * layer.stride[axis] - layer.padding[axis] if small[axis] else 0
                             for axis in (0, 1)) for start in target.starts)
        return [(result, simplify(Window(starts, tuple(result.shape[2:])), full_in))]


class Resample(Operation):
    """Separable interpolation between map sizes (bilinear, nearest); on windows as two small matrices.

    Args:
        resize (Callable): Takes impulses (1, N, n, 1) or (1, N, 1, n) and the axis to interpolate.
        whole_map (Callable): The transposed operation on whole maps.
    """

    def __init__(self, shape: tuple, source_shape: tuple, resize: Callable, whole_map: Callable,
                 dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, [source_shape])
        self.whole_map = whole_map
        self.matrices = []
        for axis in (0, 1):
            unit = torch.eye(source_shape[2 + axis], dtype=dtype, device=device)
            impulses = unit[None, :, :, None] if axis == 0 else unit[None, :, None, :]
            self.matrices.append(resize(impulses, axis).reshape(len(unit), -1).T.contiguous())

    def transpose(self, grad, window, image):
        if window is None:
            return [(channels_last(self.whole_map(grad)), None)]
        starts, size, factors = [], [], []
        for axis, matrix in enumerate(self.matrices):
            rows, first, length = self._touched(matrix, [start[axis] for start in window.starts],
                                                window.size[axis])
            starts.append(first)
            size.append(length)
            factors.append(rows)
        result = channels_last(factors[0].mT[:, None] @ grad @ factors[1][:, None])
        found = Window(tuple(zip(*starts)), tuple(size))
        return [(result, simplify(found, self.source_shapes[0][2:]))]

    @staticmethod
    def _touched(matrix: Tensor, starts: list[int], size: int) -> tuple[Tensor, list[int], int]:
        """The matrix of each peak's rows on the columns that they touch, (P, size, n), with the first columns."""
        padded = F.pad(matrix, (0, 0, size, size))
        rows = torch.stack([padded[start + size:start + 2 * size] if -size <= start <= len(matrix)
                            else padded.new_zeros(size, matrix.shape[1]) for start in starts])
        used = (rows != 0).any(1)
        first = used.int().argmax(1)
        last = matrix.shape[1] - used.flip(1).int().argmax(1)
        length = int(torch.where(used.any(1), last - first, 1).max())
        first = first.clamp(max=matrix.shape[1] - length)
        columns = first[:, None] + torch.arange(length, device=first.device)
        return rows.gather(2, columns[:, None].expand(-1, size, -1)), first.tolist(), length


def channels_last(x: Tensor) -> Tensor:
    """The layout in which the transposed convolutions run fastest."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()


def take(values: Tensor, images: Tensor) -> Tensor:
    """Rows of a per-image tensor; without a copy where all are taken."""
    return values if len(images) == len(values) else values[images]
