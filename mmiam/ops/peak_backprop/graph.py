"""Reading a recorded autograd graph into operations that can be transposed for many peaks at once.

Each reader takes what a backward node saved (attributes ``_saved_*``) and returns its ``Operation``, or None
where this case is not covered; the peaks then go through ordinary backward passes instead.

Legend: B images, P peaks, C channels, H x W map.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import Convolution, Linear
from .ops import (
    Activations,
    Factor,
    Identity,
    Operation,
    Resample,
    WholeMaps,
    aten,
    channels_last,
)
from .rules import ConvLayer, node_kind, transpose_resample


def read_node(node: Any, shape: tuple, sources: dict[int, tuple], dtype: torch.dtype) -> Operation | None:
    """The operation of a backward node.

    Args:
        node: The autograd node.
        shape (tuple): Shape of the operation's result.
        sources (dict): Shapes of its inputs that depend on the images, keyed by the input's place.
        dtype (torch.dtype): Of the peaks' gradients.

    Returns:
        Operation | None: None where the node is not covered.
    """
    reader = READERS.get(node_kind(node))
    batch = shape[0] if shape else None
    if reader is None or not shape or any(not source or source[0] != batch for source in sources.values()):
        return None
    return reader(node, shape, sources, dtype)


def _elementwise(factor_of: Callable) -> Callable:
    """Reader of a function that acts on each element alone; ``factor_of(node, place)`` gives its derivative."""
    def read(node, shape, sources, dtype):
        if list(sources.values()) != [shape]:
            return None
        factor = factor_of(node, next(iter(sources)), shape, dtype)
        if factor is None:
            return None
        operation = Identity(shape, [shape])
        operation.after = [factor]
        return operation
    return read


def _relu(node, place, shape, dtype) -> Factor:
    # The result, not the argument: it is the next layer's input too, so that one tensor serves both.
    result = node._saved_result.detach()

    def factor(activations: Activations, product: Tensor | None) -> Tensor:
        values = activations(result)
        if product is values:
            return product  # the unshifted input of the next layer: zero where the mask is
        ones = torch.ones_like(values) if product is None else product.expand_as(values)
        return aten.threshold_backward(ones, values, 0.)
    return factor


def _activation(backward: Callable, options: Callable) -> Callable:
    """Factor of an activation by its own backward kernel, ``backward(grad, saved, *options(node))``.

    In-place activations save their result instead of their argument, which these kernels take alike.
    """
    def factor_of(node, place, shape, dtype) -> Factor:
        saved = (node._saved_self if hasattr(node, '_saved_self') else node._saved_result).detach()
        chosen = options(node)

        def factor(activations: Activations, product: Tensor | None) -> Tensor:
            values = activations(saved)
            ones = torch.ones_like(values) if product is None else product.expand_as(values)
            return backward(ones, values, *chosen)
        return factor
    return factor_of


def _smooth(node, place, shape, dtype) -> Factor:
    """Any function of one argument: its derivative is what its backward makes of ones."""
    metadata = node._input_metadata[0]

    # Once an image, not once a peak; right because each element depends on itself alone.
    def factor(activations: Activations, product: Tensor | None) -> Tensor:
        slope = node(torch.ones(shape, dtype=metadata.dtype, device=metadata.device))
        return activations.multiply(product, channels_last(activations.rows(slope).to(dtype)))
    return factor


def _batch_norm(node, place, shape, dtype) -> Factor | None:
    if place != 0:
        return None
    variance = node._saved_running_var.detach().to(dtype)
    epsilon = node._saved_eps if hasattr(node, '_saved_eps') else node._saved_epsilon
    gain = torch.rsqrt(variance + epsilon)
    if node._saved_weight is not None:
        gain = gain * node._saved_weight.detach().to(dtype)
    gain = gain.view(1, -1, *[1] * (len(shape) - 2))
    return lambda activations, product: activations.multiply(product, gain)


def _fixed_norm(node, place, shape, dtype) -> Factor:
    gain = node.gain.to(dtype)
    return lambda activations, product: activations.multiply(product, gain)


def _multiply(node, place, shape, dtype) -> Factor:
    other = node._saved_other if place == 0 else node._saved_self
    return _constant(other.detach().to(dtype), shape)


def _divide(node, place, shape, dtype) -> Factor | None:
    return _constant(1 / node._saved_other.detach().to(dtype), shape) if place == 0 else None


def _subtract(node, place, shape, dtype) -> Factor:
    """``a - alpha * b``, or with its arguments the other way round ``rsub(b, a)``."""
    subtracted = place == (0 if node_kind(node) == 'Rsub' else 1)
    sign = -float(getattr(node, '_saved_alpha', 1)) if subtracted else 1.
    return _constant(torch.tensor(sign, dtype=dtype, device=node._input_metadata[0].device), shape)


def _constant(value: Tensor, shape: tuple) -> Factor:
    value = value.expand(shape)
    return lambda activations, product: activations.multiply(product, channels_last(activations.rows(value)))


def _sum(node, shape, sources, dtype):
    if any(source != shape for source in sources.values()):
        return None
    return Identity(shape, list(sources.values())) if _alpha(node) == 1 else None


def _alpha(node: Any) -> float:
    return getattr(node, '_saved_alpha', 1)


def _copy(node, shape, sources, dtype):
    return Identity(shape, [shape]) if list(sources.values()) == [shape] else None


def _positive(node, shape, sources, dtype):
    x, = node.saved_tensors
    kind = Convolution if isinstance(node.layer, ConvLayer) else Linear
    if kind is Convolution and isinstance(node.layer.padding, str):
        return None
    return kind(shape, x.detach(), node.weight, node.layer) if node.num_images == len(x) else None


def _cat(node, shape, sources, dtype):
    dim = _signed(node._saved_dim)
    if dim % len(shape) == 0 or len(sources) != len(node.next_functions):
        return None
    widths = [source[dim] for source in sources.values()]
    return WholeMaps(shape, list(sources.values()),
                     lambda grad, image: [channels_last(part) for part in grad.split(widths, dim)])


def _max_pool(node, shape, sources, dtype):
    source, = sources.values()
    indices = channels_last(node._saved_result1.detach())
    geometry = (node._saved_kernel_size, node._saved_stride, node._saved_padding, node._saved_dilation,
                node._saved_ceil_mode)
    if len(shape) != 4:
        return None

    def apply(grad: Tensor, image: Tensor) -> Tensor:
        like = torch.empty((len(grad), *source[1:]), dtype=grad.dtype, device=grad.device,
                           memory_format=torch.channels_last)
        return aten.max_pool2d_with_indices_backward(grad, like, *geometry,
                                                     indices if len(indices) == len(grad) == 1 else indices[image])
    return WholeMaps(shape, [source], apply)


def _pool(backward: Callable) -> Callable:
    """Reader of pooling with fixed weights; ``backward(node)`` gives (grad, like) -> gradient of the input."""
    def read(node, shape, sources, dtype):
        source, = sources.values()
        run = backward(node)
        if len(shape) != 4:
            return None
        return WholeMaps(shape, [source],
                         lambda grad, image: channels_last(run(grad, grad.new_empty((len(grad), *source[1:])))))
    return read


def _avg_pool(node) -> Callable:
    options = (node._saved_kernel_size, node._saved_stride, node._saved_padding, node._saved_ceil_mode,
               node._saved_count_include_pad, node._saved_divisor_override)
    return lambda grad, like: aten.avg_pool2d_backward(grad, like, *options)


def _adaptive_avg_pool(node) -> Callable:
    return aten._adaptive_avg_pool2d_backward


def _mean(node, shape, sources, dtype):
    source, = sources.values()
    dims = sorted(_signed(dim) % len(source) for dim in node._saved_dim)
    if not dims or 0 in dims:
        return None
    count = 1
    for dim in dims:
        count *= source[dim]
    keep = [1 if dim in dims else size for dim, size in enumerate(source)][1:]
    return WholeMaps(shape, [source], lambda grad, image: channels_last(
        (grad.reshape(len(grad), *keep) / count).expand(len(grad), *source[1:])))


def _signed(dim: int) -> int:
    """Autograd saves negative dimensions as unsigned numbers of 64 bits."""
    return dim - 2 ** 64 if dim >= 2 ** 63 else dim


def _reshape(node, shape, sources, dtype):
    source, = sources.values()
    return WholeMaps(shape, [source], lambda grad, image: channels_last(grad.reshape(len(grad), *source[1:])))


def _permute(node, shape, sources, dtype):
    source, = sources.values()
    order = list(range(len(shape)))
    if hasattr(node, '_saved_dims'):
        order = [_signed(dim) % len(shape) for dim in node._saved_dims]
    else:
        first, second = (_signed(dim) % len(shape) for dim in (node._saved_dim0, node._saved_dim1))
        order[first], order[second] = second, first
    if order[0] != 0:
        return None
    back = sorted(range(len(order)), key=order.__getitem__)
    return WholeMaps(shape, [source], lambda grad, image: channels_last(grad.permute(back)))


def _pad(node, shape, sources, dtype):
    source, = sources.values()
    back = [-width for width in node._saved_pad]
    return WholeMaps(shape, [source], lambda grad, image: channels_last(F.pad(grad, back)))


def _interpolation(forward: Callable, backward: Callable, flags: Callable) -> Callable:
    """Reader of separable interpolation; ``flags(node)`` gives the options between sizes and scales."""
    def read(node, shape, sources, dtype):
        source, = sources.values()
        options, scales = flags(node), (node._saved_scales_h, node._saved_scales_w)

        def resize(impulses: Tensor, axis: int) -> Tensor:
            size = [shape[2], 1] if axis == 0 else [1, shape[3]]
            kept = [scale if axis == number else None for number, scale in enumerate(scales)]
            return forward(impulses, size, *options, *kept)

        def whole_map(grad: Tensor) -> Tensor:
            return backward(grad, list(shape[2:]), [len(grad), *source[1:]], *options, *scales)
        return Resample(shape, source, resize, whole_map, dtype, node._input_metadata[0].device)
    return read


def _fixed_resample(node, shape, sources, dtype):
    source, = sources.values()
    return Resample(shape, source, lambda impulses, axis: node.matrices[axis].T.to(dtype),
                    lambda grad: transpose_resample(grad, node.matrices), dtype, node._input_metadata[0].device)


READERS = {
    'PositiveLayer': _positive, 'FixedNorm': _elementwise(_fixed_norm), 'Relu': _elementwise(_relu),
    'Threshold': _elementwise(_activation(aten.threshold_backward, lambda node: (node._saved_threshold,))),
    'Hardtanh': _elementwise(_activation(
        aten.hardtanh_backward, lambda node: (node._saved_min_val, node._saved_max_val))),
    'LeakyRelu': _elementwise(_activation(
        aten.leaky_relu_backward, lambda node: (node._saved_negative_slope, False))),
    **{kind: _elementwise(_smooth) for kind in (
        'Elu', 'Silu', 'Sigmoid', 'Tanh', 'Gelu', 'Hardswish', 'Hardsigmoid', 'Mish', 'Softplus', 'Clamp')},
    **{kind: _elementwise(_batch_norm) for kind in ('NativeBatchNorm', 'CudnnBatchNorm', 'MiopenBatchNorm')},
    'Mul': _elementwise(_multiply), 'Div': _elementwise(_divide), 'Sub': _elementwise(_subtract),
    'Rsub': _elementwise(_subtract),
    'Add': _sum, **{kind: _copy for kind in ('Clone', 'ToCopy', 'Alias')},
    'Cat': _cat, 'MaxPool2DWithIndices': _max_pool, 'AvgPool2D': _pool(_avg_pool),
    'AdaptiveAvgPool2D': _pool(_adaptive_avg_pool), 'Mean': _mean,
    **{kind: _reshape for kind in ('View', 'UnsafeView', 'ReshapeAlias', 'Unsqueeze', 'Squeeze')},
    'Permute': _permute, 'Transpose': _permute, 'T': _permute, 'ConstantPadNd': _pad,
    'UpsampleBilinear2D': _interpolation(aten.upsample_bilinear2d, aten.upsample_bilinear2d_backward,
                                         lambda node: (node._saved_align_corners,)),
    'FixedResample': _fixed_resample,
    'UpsampleNearest2D': _interpolation(aten.upsample_nearest2d, aten.upsample_nearest2d_backward,
                                        lambda node: ()),
}
