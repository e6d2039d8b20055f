"""Transposed operations: how the gradients of many peaks pass back through each operation of a network.

In eval mode an operation is ``out = L(D x)``: a linear map between diagonal factors that depend on the image
alone. Factors are computed once per image and folded by the tape; the linear maps work on all peaks at once.

Shapes: P peaks, I images with peaks, C channels, H x W map, h x w window of it.
"""

from collections.abc import Callable
from functools import cached_property
from math import ceil, inf, nextafter, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .peak_backprop_rules import EPS, ConvLayer, sample_minimum
from .peak_backprop_window import Window, place, simplify, spread, whole

aten = torch.ops.aten
# Up to so many input channels a strided convolution is transposed phase by phase (an image has three).
FEW_CHANNELS = 4


class Activations:
    """Recorded tensors as the factors need them: rows of the wanted images, in one dtype and layout.

    Args:
        images (Tensor): The images' places in the recorded batch, ascending, has shape (I,).
        dtype (torch.dtype): Of the peaks' gradients.
    """

    KEPT = 4  # tensors that neighbouring layers share; more would only take memory

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
Factor = Callable[[Activations, Tensor | None], Tensor]


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

    def _shifted(self, activations: Activations) -> Tensor:
        x, minimum = activations(self.x), activations.rows(self.minimum)
        return x - minimum if minimum.any() else x

    def shifted_input(self, activations: Activations, product: Tensor | None) -> Tensor:
        return activations.multiply(product, self._shifted(activations))

    def inverse_normalizer(self, activations: Activations, product: Tensor | None) -> Tensor:
        with torch.autocast(self.x.device.type, enabled=False):
            z = self.normalizer(self._shifted(activations))
        # Below eps nothing is handed on: 1 / inf.
        z = F.threshold_(z, nextafter(EPS, 0), inf).add_(EPS).reciprocal_()
        return activations.multiply(product, z)

    def normalizer(self, shifted: Tensor) -> Tensor:
        return self.layer(shifted, self.weight)


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
        result = self._transpose(grad, small)
        starts = tuple(tuple(start[axis] * layer.stride[axis] - layer.padding[axis] if small[axis] else 0
                             for axis in (0, 1)) for start in target.starts)
        return [(result, simplify(Window(starts, tuple(result.shape[2:])), full_in))]


    def _transpose(self, grad: Tensor, small: list[bool]) -> Tensor:
        """Transposed convolution; axes that are ``small`` keep all that it reaches, others the input's size."""
        layer = self.layer
        if self._is_pointwise:
            return torch.mkldnn_convolution(grad, self._turned, None, (0, 0), (1, 1), (1, 1), 1)
        if self.weight.shape[1] <= FEW_CHANNELS and layer.groups == 1 and not any(small) and max(layer.stride) > 1:
            return self._transpose_by_phase(grad)
        spans, full = self._spans(grad.shape[2:]), self.x.shape[2:]
        padding = [0 if small[axis] else layer.padding[axis] for axis in (0, 1)]
        reach = [layer.dilation[axis] * (self.weight.shape[2 + axis] - 1) for axis in (0, 1)]
        if (layer.groups == len(self.weight) == self.x.shape[1] and layer.stride == (1, 1)
                and all(width <= most for width, most in zip(padding, reach))):
            # Depthwise at stride 1: oneDNN's plain convolution takes half of the transposed one's time.
            padding = [most - width for width, most in zip(padding, reach)]
            return F.conv2d(grad, self.weight.flip(2, 3), None, 1, padding, layer.dilation, layer.groups)
        rest = [0 if small[axis] else full[axis] - spans[axis] + 2 * padding[axis] for axis in (0, 1)]
        return F.conv_transpose2d(
            grad, self.weight, None, layer.stride, padding, rest, layer.groups, layer.dilation)

    @cached_property
    def _is_pointwise(self) -> bool:
        """Whether oneDNN is called by name: in some cases PyTorch prefers a matrix product of a third the speed."""
        layer, weight = self.layer, self.weight
        return (self.x.device.type == 'cpu' and torch.backends.mkldnn.is_available()
                and weight.dtype == torch.float32 and layer.groups == 1 and layer.padding == (0, 0)
                and tuple(weight.shape[2:]) == layer.stride == (1, 1))

    @cached_property
    def _turned(self) -> Tensor:
        return channels_last(self.weight.transpose(0, 1))

    def normalizer(self, shifted):
        if self._is_pointwise:
            return torch.mkldnn_convolution(shifted, self.weight, None, (0, 0), (1, 1), (1, 1), 1)
        return super().normalizer(shifted)

    def _transpose_by_phase(self, grad: Tensor) -> Tensor:
        """Transposed convolution to few channels, on whole maps, as one plain convolution.

        Pixels of the input fall into stride x stride phases, each reached by its own part of the kernel: all
        phases are computed as channels at the output's resolution and interleaved. A transposed convolution
        to the three channels of an image takes more than twice that time.
        """
        step, offset, full = self.layer.stride, self.layer.padding, self.x.shape[2:]
        result = F.conv2d(grad, self._phases, None, 1, [self._phases.shape[2] - 1, self._phases.shape[3] - 1])
        count, _, height, width = result.shape
        result = result.view(count, self.x.shape[1], *step, height, width).permute(0, 1, 4, 2, 5, 3)
        result = result.reshape(count, self.x.shape[1], height * step[0], width * step[1])
        missing = [max(0, full[axis] + offset[axis] - result.shape[2 + axis]) for axis in (0, 1)]
        if any(missing):
            result = F.pad(result, (0, missing[1], 0, missing[0]))
        return result[:, :, offset[0]:offset[0] + full[0], offset[1]:offset[1] + full[1]]

    @cached_property
    def _phases(self) -> Tensor:
        """The kernel by phase, (C_in * s_y * s_x, C_out, ceil(k_y / s_y), ceil(k_x / s_x)), reversed."""
        step = self.layer.stride
        taps = [ceil(size / stride) for size, stride in zip(self.weight.shape[2:], step)]
        missing = [taps[axis] * step[axis] - self.weight.shape[2 + axis] for axis in (0, 1)]
        out_channels, in_channels = self.weight.shape[:2]
        padded = F.pad(self.weight, (0, missing[1], 0, missing[0])).contiguous()
        padded = padded.view(out_channels, in_channels, taps[0], step[0], taps[1], step[1]).flip(2, 4)
        return channels_last(padded.permute(1, 3, 5, 0, 2, 4).reshape(-1, out_channels, *taps))


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
