"""The rule of Eq. 1 for convolution and linear layers, as an autograd function put in place while tracing.

A thread-local function mode replaces ``conv2d`` and ``linear`` during one forward pass. The forward values stay
bit-identical; the backward is that of Eq. 1 and never reaches a parameter.

There is one rule for linear layers: those that the network calls itself follow Eq. 1, even around its own attention
(Swin). ``nn.MultiheadAttention`` (PVT) is one function to torch and is differentiated ordinarily as a whole, including
its projections: there tokens come before images, so that each image's own minimum could not be subtracted.

Legend: B images, x the layer's input with the samples first.
"""
from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

# Below this value of Z there is nothing to distribute (constant of the public PRM code).
EPS = 1e-10

# Backward nodes which the theory covers by ordinary differentiation; numbers at their end are dropped.
ORDINARY = frozenset("""
    OtherBackward AccumulateGrad Relu Threshold Hardtanh LeakyRelu Elu Silu Sigmoid Tanh
    Gelu Hardswish Hardsigmoid Mish Softplus Clamp ClampMin ClampMax PreluKernel Prelu
    MaxPool2DWithIndices AvgPool2D AdaptiveAvgPool2D AdaptiveMaxPool2D Mean Sum Add Sub Rsub
    Mul Div Neg Cat Stack Split SplitWithSizes Chunk Unbind Slice Select Index View UnsafeView Reshape ReshapeAlias
    Permute Transpose T Expand Squeeze Unsqueeze Clone ToCopy Copy CopySlices AsStrided Alias Roll Flip
    ConstantPadNd ReflectionPad2D ReplicationPad2D UpsampleBilinear2D UpsampleNearest2D UpsampleBicubic2D
    Unfold Contiguous PixelShuffle PixelUnshuffle
    """.split())


class OtherBackward(Function):
    """A layer with a different backward.

    Inputs: x (Tensor), ``plain`` (Callable, the layer as it is), ``rule`` (Callable, from the gradient of the layer's
    output to that of its input), ``reads_input`` (bool): the rule reads x, which must not be changed in place until
    then.
    """

    @staticmethod
    def forward(ctx, x: Tensor, plain: Callable, rule: Callable, reads_input: bool = False) -> Tensor:
        if reads_input:
            ctx.save_for_backward(x)
        ctx.rule = rule
        return plain()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.saved_tensors  # noqa: B018  (raises if x was changed)
        return ctx.rule(grad), None, None, None


class Shares:
    """Shares of a layer's inputs in the probability of its outputs: U^ * W+^T (g / Z), with Z = W+ U^.

    Z is the same for every peak and computed once. In float32 or float64, as half precision cannot hold 1 / Z.

    Args:
        x (Tensor): input of the layer.
        weight (Tensor): W.
        layer (Callable): (x, weight) -> Tensor, the layer without bias.
        num_images (int): B.
    """

    def __init__(self, x: Tensor, weight: Tensor, layer: Callable, num_images: int) -> None:
        self.x, self.weight, self.layer, self.num_images = x.detach(), weight.detach(), layer, num_images
        self.dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self.z: Any = None
        self.inverse: Any = None  # of Z, zero where Z is too small

    def find_z(self, positive: Tensor) -> None:
        """Compute Z, with ``positive`` for W+."""
        x = self.x.to(self.dtype)
        minimum = sample_minimum(x, self.num_images)
        # on a GPU a subtraction costs less than asking whether there is something to take off
        shift = x.device.type != 'cpu' or minimum.any()
        self.shifted = (x - minimum if shift else x.detach()).requires_grad_()
        with torch.enable_grad():
            self.z = self.layer(self.shifted, positive)

    def __call__(self, grad: Tensor) -> Tensor:
        prepare([self])
        scaled = grad.to(self.z.dtype) * self.inverse
        routed, = torch.autograd.grad(self.z, self.shifted, scaled, retain_graph=True)
        return (routed * self.shifted.detach()).to(self.x.dtype)


def prepare(layers: list[Shares]) -> None:
    """Compute Z of the layers that lack it, with one kernel for all where starting one for each would dominate."""
    layers = [layer for layer in layers if layer.z is None]
    if not layers:
        return
    positive = torch._foreach_clamp_min([layer.weight.to(layer.dtype) for layer in layers], 0.)
    for layer, weight in zip(layers, positive):
        layer.find_z(weight)
    # In the memory of Z, which is linear in the input: its graph does not need the value. What is too small becomes
    # infinite first, so that its inverse is zero: three kernels where a choice between two results takes six.
    inverses = [F.threshold_(layer.z.detach(), EPS, torch.inf) for layer in layers]  # type: ignore[attr-defined]
    torch._foreach_add_(inverses, EPS)
    torch._foreach_reciprocal_(inverses)
    for layer, inverse in zip(layers, inverses):
        layer.inverse = inverse


def sample_minimum(x: Tensor, num_images: int) -> Tensor:
    """Find the smallest input of each image, broadcastable to ``x``.

    Layers may see an image as several rows (the windows of Swin): a first dimension that is a multiple of the
    number of images is taken to hold the rows of an image one after the other.
    """
    rows = num_images if x.shape[0] % num_images == 0 else x.shape[0]
    least = x.reshape(rows, -1).amin(1, keepdim=True)
    return least.expand(rows, x.shape[0] // rows).reshape(-1, *[1] * (x.dim() - 1))


class RecordPositiveLayers(TorchFunctionMode):
    """While active in this thread, convolutions and linear layers follow Eq. 1 in their backward.

    Attributes:
        layers (list[Shares]): the recorded layers.
        gains (list[Tensor]): gains per channel of each batch normalization, available after :meth:`find_gains`.
    """

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.num_images = num_images
        self.layers: list[Shares] = []
        self.norms: list[tuple[Tensor, float, Tensor]] = []
        self.gains: list[Tensor] = []

    def find_gains(self) -> None:
        """Compute ``gains`` = weight / sqrt(variance + eps), with a few kernels for all layers."""
        if self.norms:
            variances, eps, weights = (list(column) for column in zip(*self.norms))
            self.gains += torch._foreach_add(variances, eps)
            torch._foreach_sqrt_(self.gains)
            torch._foreach_reciprocal_(self.gains)
            torch._foreach_mul_(self.gains, weights)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(func, args, kwargs)
        if func is F.interpolate and torch.are_deterministic_algorithms_enabled():
            return self._interpolate(func, args, kwargs)
        read = _READERS.get(func)
        if read is None:
            return func(*args, **kwargs)
        x, weight, layer = read(*args, **kwargs)
        if not x.requires_grad:
            return func(*args, **kwargs)
        shares = Shares(x, weight, layer, self.num_images)
        self.layers.append(shares)
        return OtherBackward.apply(x, lambda: func(*args, **kwargs), shares, True)

    def _batch_norm(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        """Apply one gain per channel (fixed statistics). Unlike PyTorch's own backward, this one needs no input."""
        options = _arguments(_BATCH_NORM, args, kwargs)
        x, variance, weight = options['input'], options['running_var'], options['weight']
        if not x.requires_grad:
            return func(*args, **kwargs)
        if options['training'] or variance is None:
            raise ValueError('peak back-propagation needs normalization with fixed statistics: call .eval() on '
                             'the network before tracing')
        dtype = torch.float64 if variance.dtype == torch.float64 else torch.float32
        variance = variance.detach().to(dtype)
        weight = torch.ones_like(variance) if weight is None else weight.detach().to(dtype)
        gains, number = self.gains, len(self.norms)
        self.norms.append((variance, options['eps'], weight))

        def scale(grad: Tensor) -> Tensor:
            return (grad * gains[number].view(-1, *[1] * (grad.dim() - 2))).to(grad.dtype)

        return OtherBackward.apply(x, lambda: func(*args, **kwargs), scale)

    @staticmethod
    def _interpolate(func: Callable, args: tuple, kwargs: dict) -> Tensor:
        """Interpolate bilinearly, with two matrices as backward, (H_out, H_in) and (W_out, W_in), as it is separable.

        Used in torch's deterministic mode, where CUDA lacks its own backward in some supported versions.
        """
        options = _arguments(_INTERPOLATE, args, kwargs)
        x = options.pop('input')
        if options['mode'] != 'bilinear' or options['antialias'] or not x.requires_grad:
            return func(*args, **kwargs)
        sizes = {name: _pair(options[name]) for name in ('size', 'scale_factor') if options[name] is not None}
        matrices = []
        for axis in (0, 1):
            unit = torch.eye(x.shape[2 + axis], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
            impulses = unit[None, :, :, None] if axis == 0 else unit[None, :, None, :]
            along = {name: (pair[0], 1) if axis == 0 else (1, pair[1]) for name, pair in sizes.items()}
            matrices.append(func(impulses, **{**options, **along}).reshape(len(unit), -1).T)
        return OtherBackward.apply(x, lambda: func(*args, **kwargs),
                                   lambda grad: matrices[0].to(grad.dtype).mT @ grad @ matrices[1].to(grad.dtype))


_inline = threading.local()  # .active in a thread that records
_patches = threading.Lock()
_patched = 0  # threads that record
_CHECKPOINT_OPTIONS = {'use_reentrant', 'preserve_rng_state', 'context_fn', 'determinism_check', 'debug', 'early_stop'}


@contextmanager
def checkpointed_blocks_inline() -> Iterator[None]:
    """Run blocks under ``torch.utils.checkpoint`` (``with_cp=True``) without checkpointing, in this thread.

    A checkpointed block is one node that runs the block again in its backward: Eq. 1 would not be recorded in it,
    and torch refuses ``autograd.grad`` through it. There is no public switch, so the function itself is replaced
    while any thread records; calls from other threads go to the original.
    """
    global _patched
    module = torch.utils.checkpoint
    with _patches:
        _patched += 1
        if _patched == 1:
            original = module.checkpoint

            @wraps(original)
            def checkpoint(function, *args, **kwargs):
                if not getattr(_inline, 'active', False):
                    return original(function, *args, **kwargs)
                return function(*args, **{key: kwargs[key] for key in kwargs if key not in _CHECKPOINT_OPTIONS})

            module.checkpoint = checkpoint
    _inline.active = True
    try:
        yield
    finally:
        _inline.active = False
        with _patches:
            _patched -= 1
            if _patched == 0:
                module.checkpoint = module.checkpoint.__wrapped__


def _read_conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if input.dim() != 4:
        raise ValueError('peak back-propagation needs convolutions with a batch dimension, got an input of '
                         f'shape {tuple(input.shape)}')
    layer = partial(F.conv2d, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return input, weight, layer


def _arguments(signature: inspect.Signature, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return the arguments of a call by name, with their defaults."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _pair(value) -> tuple[int, int]:
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * 2 if len(value) == 1 else value


_BATCH_NORM, _INTERPOLATE = inspect.signature(F.batch_norm), inspect.signature(F.interpolate)
_READERS = {torch.conv2d: _read_conv2d, F.conv2d: _read_conv2d,
            F.linear: lambda input, weight, bias=None: (input, weight, F.linear)}


def warn_outside_theory(outputs: list[Tensor]) -> None:
    """Name, in one warning, the operations that Eq. 1 does not cover.

    Raises:
        ValueError: If a block is checkpointed by a function that :func:`checkpointed_blocks_inline` does not reach.
    """
    names, seen = set(), set()
    stack = [output.grad_fn for output in outputs]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack += [following for following, _ in node.next_functions]
        # 'Relu' for 'ReluBackward0'
        name = node.name().rsplit('::', 1)[-1].rstrip('0123456789').removesuffix('Backward')
        if name.startswith('CheckpointFunction'):
            raise ValueError('peak back-propagation cannot look into a checkpointed block: set with_cp=False in the '
                             'backbone')
        if name not in ORDINARY:
            names.add(name)
    if names:
        warnings.warn('not covered by the theory of peak back-propagation, differentiated ordinarily: '
                      + ', '.join(sorted(names)), stacklevel=4)
