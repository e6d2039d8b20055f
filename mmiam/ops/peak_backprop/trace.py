"""Peak Response Maps by probabilistic back-propagation (Eq. 1 of the paper).

Eq. 1 walks from a peak of a class response map down to the image. Through a convolution (or linear layer)
with input ``U`` and weights ``W`` the probability of an input is

    P(U_i) = sum_j U^_i * relu(W_ij) / Z_j * P(V_j),    Z_j = sum_i U^_i * relu(W_ij),

with ``U^`` the input shifted by its own sample's minimum, so that it is non-negative. Everything between the
convolutions (batch norm with fixed statistics, activations, pooling, sums, resampling) is differentiated
ordinarily. The map of a peak is the sum of the image's gradient over the color channels, clamped at zero and
normalized to sum 1.

Legend: B images, C classes, h x w response map, H x W image, P peaks.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .rules import RecordPositiveLayers, checkpointed_blocks_inline, warn_outside_theory
from .tape import Tape

ENGINES = ('auto', 'autograd')


class Trace:
    """One recorded run of a network, from which any number of peaks can be propagated back.

    In half precision the activations are the network's own, but shares and maps are computed in single
    precision, as 1 / Z exceeds the range of half. The tensors in ``output`` must not be changed in place.

    Attributes:
        output: What the network returned, with every tensor detached.
    """

    def __init__(self, network: Callable[[Tensor], Any], images: Tensor, engine: str = 'auto') -> None:
        if engine not in ENGINES:
            raise ValueError(f'engine must be one of {ENGINES}, got {engine!r}')
        if images.dim() != 4 or not images.is_floating_point():
            raise ValueError(f'images must be a float (B, 3, H, W) tensor, got {images.dtype}, '
                             f'shape {tuple(images.shape)}')
        with torch.inference_mode(False), torch.enable_grad():
            self._images = images.detach().clone().requires_grad_()
            with RecordPositiveLayers(len(images)), checkpointed_blocks_inline():
                recorded = network(self._images)
        self._recorded: list[tuple[Tensor, Tensor]] = []
        self.output = self._detach(recorded)
        if not self._recorded:
            raise ValueError('nothing that the network returned depends on the images differentiably: it '
                             'returned no such tensor, or it switches gradients off inside')
        outputs = [tensor for _, tensor in self._recorded]
        warn_outside_theory(outputs)
        readable = hasattr(outputs[0].grad_fn, '_input_metadata')  # since torch 2.2
        self._tape = Tape(outputs, self._images) if engine == 'auto' and readable else None
        if self.batched:  # the autograd graph is needed no longer
            self._recorded = [(detached, detached) for detached, _ in self._recorded]
        elif engine == 'auto':
            cause = f'torch {torch.__version__} does not tell the shapes in a graph, 2.2 and later do'
            if self._tape is not None:
                cause = f'all peaks at once do not know its {", ".join(sorted(self._tape.unknown))}'
            warnings.warn('peak back-propagation takes one pass a peak through this network, which is slower: '
                          + cause, stacklevel=3)

    @property
    def batched(self) -> bool:
        """Whether every operation is known, so that all peaks are propagated at once."""
        return self._tape is not None and self._tape.complete

    def backpropagate(self, response: Tensor, peaks: Tensor, chunk: int | None = None) -> Tensor:
        """Propagate peaks of a response map back to the image.

        Args:
            response (Tensor): The response map, one of the tensors in ``output``, (B, C, h, w).
            peaks (Tensor): Rows (image, class, y, x) in pixels of the response map, long, (P, 4).
            chunk (int, optional): Number of peaks propagated at a time. Defaults to None (chosen).

        Returns:
            Tensor: Peak Response Maps in image coordinates, at least 0, each summing to 1 or all zero,
            (P, H, W); float32, or float64 for float64 images.

        Raises:
            ValueError: If ``response`` is not of this trace or a peak lies outside of it.
        """
        number = self._find(response)
        peaks = check_peaks(response, peaks)
        if chunk is not None and chunk < 1:
            raise ValueError(f'chunk must be at least 1, got {chunk}')
        plan = self._tape.plan(number) if self._tape is not None else None
        with torch.inference_mode(False), torch.autocast(peaks.device.type, enabled=False):
            if plan is not None:
                return normalize_maps(plan.run(peaks, chunk))
            return normalize_maps(self._loop(self._recorded[number][1], peaks.clone()))

    def _loop(self, recorded: Tensor, peaks: Tensor) -> Tensor:
        """Ordinary backward passes, each with at most one peak of every image. -> (P, H, W), any sign."""
        images = self._images
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        maps = torch.zeros((len(peaks), *images.shape[-2:]), dtype=dtype, device=images.device)
        turn = _turn_of_each(peaks[:, 0])
        for step in range(int(turn.max()) + 1 if len(peaks) else 0):
            rows = (turn == step).nonzero().flatten()
            seed = torch.zeros_like(recorded)
            seed[tuple(peaks[rows].T)] = 1
            grad, = torch.autograd.grad(recorded, images, seed, retain_graph=True)
            maps[rows] = grad[peaks[rows, 0]].to(dtype).sum(1)
        return maps

    def _find(self, response: Tensor) -> int:
        for number, (detached, _) in enumerate(self._recorded):
            if detached is response:
                return number
        raise ValueError('response must be one of the tensors in Trace.output itself, not a copy or a result '
                         'computed from it, and must depend on the images')

    def _detach(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            detached = value.detach()
            if value.requires_grad:
                self._recorded.append((detached, value))
            return detached
        if isinstance(value, dict):
            return {key: self._detach(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, '_fields'):
            return type(value)(*(self._detach(item) for item in value))
        if isinstance(value, (list, tuple)):
            return type(value)(self._detach(item) for item in value)
        return value


def trace(network: Callable[[Tensor], Any], images: Tensor, engine: str = 'auto') -> Trace:
    """Run a network once and record what its peaks' back-propagation needs.

    Nothing in the network is changed, and other threads and models are not touched. It must be in eval mode
    (its normalization must use fixed statistics); gradients need not be enabled.

    Args:
        network (Callable): Takes the images and returns a tensor or nested tuples, lists and dicts of them.
        images (Tensor): Normalized images, has shape (B, 3, H, W).
        engine (str): ``'autograd'`` for one ordinary backward pass a peak, slow and for any network;
            ``'auto'`` for all peaks at once wherever every operation of the network is known, and
            ``'autograd'`` elsewhere, with a warning that names what is not known. Defaults to ``'auto'``.

    Returns:
        Trace: Holds the output and propagates peaks back.
    """
    return Trace(network, images, engine)


def peak_response_maps(network: Callable[[Tensor], Tensor], images: Tensor, peaks: Tensor) -> Tensor:
    """Peak Response Maps of given peaks of a network that returns the response map itself.

    Args:
        network (Callable): Takes images (B, 3, H, W) and returns the response map (B, C, h, w).
        images (Tensor): Normalized images, has shape (B, 3, H, W).
        peaks (Tensor): Rows (image, class, y, x) in pixels of the response map, long, (P, 4).

    Returns:
        Tensor: Maps in image coordinates, each sums to 1 or is all zero, has shape (P, H, W).
    """
    record = trace(network, images)
    return record.backpropagate(record.output, peaks)


def normalize_maps(maps: Tensor) -> Tensor:
    """Clamp at zero and divide by the sum; maps without positive values become all zero. (P, H, W)."""
    maps = maps.clamp(min=0)
    largest = maps.flatten(1).amax(1) if len(maps) else maps.new_zeros(0)
    maps /= torch.where(largest > 0, largest, 1)[:, None, None]
    total = maps.sum(dim=(1, 2))
    return maps.div_(torch.where(total > 0, total, 1)[:, None, None])


def check_peaks(response: Tensor, peaks: Tensor) -> Tensor:
    """Peaks on the response's device, after checking form and range."""
    if response.dim() != 4:
        raise ValueError(f'response must be (B, C, h, w), got shape {tuple(response.shape)}')
    if peaks.dim() != 2 or peaks.shape[1] != 4 or peaks.is_floating_point():
        raise ValueError('peaks must be an integer (P, 4) tensor of rows (image, class, y, x), got '
                         f'{peaks.dtype}, shape {tuple(peaks.shape)}')
    peaks = peaks.to(response.device, torch.long)
    size = torch.tensor(response.shape, device=peaks.device)
    if ((peaks < 0) | (peaks >= size)).any():
        raise ValueError(f'a peak lies outside of the response map of shape {tuple(response.shape)}')
    return peaks


def _turn_of_each(image_index: Tensor) -> Tensor:
    """How many earlier peaks belong to the same image, (P,)."""
    same = image_index[:, None] == image_index
    return same.tril(-1).sum(1)
