"""Convolution and linear layers by Eq. 1, transposed for many peaks at once.

Legend: P peaks, I images with peaks, C channels, H x W map, h x w window of it.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import ceil, inf, nextafter, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops import Activations, Operation, channels_last
from .rules import EPS, ConvLayer, sample_minimum
from .window import Window, place, simplify, spread, whole

# Up to so many input channels a strided convolution is transposed phase by phase (an image has three).
FEW_CHANNELS = 4


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
