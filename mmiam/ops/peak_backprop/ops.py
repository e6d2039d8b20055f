"""Transposed operations: how the gradients of many peaks pass back through each operation of a network.

In eval mode an operation is ``out = L(D x)``: a linear map between diagonal factors that depend on the image
alone. Factors are computed once per image and folded by the tape; the linear maps work on all peaks at once.

Legend: P peaks, I images with peaks, C channels, H x W map, h x w window of it.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .window import Window, simplify, spread

aten = torch.ops.aten


class Activations:
    """Recorded tensors as the factors need them: rows of the wanted images, in one dtype and layout.

    Args:
        images (Tensor): The images' places in the recorded batch, ascending, has shape (I,).
        dtype (torch.dtype): Of the peaks' gradients.
    """

    KEPT = 4  # tensors that neighboring layers share; more would only take memory

    def __init__(self, images: Tensor, dtype: torch.dtype) -> None:
        self.images, self.dtype = images, dtype
        self._kept: dict[tuple, Tensor] = {}

    def __call__(self, recorded: Tensor) -> Tensor:
        """A recorded tensor's rows, (I, ...); shared, not to be written to."""
        key = recorded.data_ptr(), tuple(recorded.shape)
        if key not in self._kept:
            if len(self._kept) >= self.KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = channels_last(self.rows(recorded).to(self.dtype))
        return self._kept[key]

    def rows(self, recorded: Tensor) -> Tensor:
        """Rows of the wanted images as they are; without a copy where these are all."""
        return recorded if len(self.images) == len(recorded) else recorded[self.images]

    def multiply(self, product: Tensor | None, factor: Tensor) -> Tensor:
        """The product with one more factor, in place where nobody else holds it."""
        if product is None:
            return factor
        shared = any(product is kept for kept in self._kept.values())
        if shared or product.shape != torch.broadcast_shapes(product.shape, factor.shape):
            return product * factor
        return product.mul_(factor)


# A diagonal factor: multiplies the product so far (None: one) by itself, (I, ...) or (1, ...) for all images.
Factor = Callable[[Activations, Optional[Tensor]], Tensor]


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


class WholeMaps(Operation):
    """An operation that works on whole maps only."""

    def __init__(self, shape: tuple, source_shapes: list[tuple], apply: Callable) -> None:
        super().__init__(shape, source_shapes)
        self.apply = apply

    def transpose(self, grad, window, image):
        if window is not None:
            grad = spread(grad, window, self.shape[2:])
        results = self.apply(grad, image)
        return [(result, None) for result in (results if isinstance(results, list) else [results])]


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
    """The layout in which the transposed convolutions run fastest, on (B, C, H, W); others contiguous."""
    if x.dim() != 4:
        return x.contiguous()
    if x.device.type != 'cpu' or not x.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    # PyTorch copies transposed matrices several times faster than it changes the layout of a batch.
    batch, channels, height, width = x.shape
    result = x.new_empty((batch, height * width, channels))
    for row, image in zip(result, x):
        row.copy_(image.view(channels, -1).T)
    return result.view(batch, height, width, channels).permute(0, 3, 1, 2)
