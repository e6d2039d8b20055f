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

from .rules import RecordPositiveLayers, checkpointed_blocks_inline, prepare, warn_outside_theory

# Bytes of one gradient, for all peaks propagated together. On a CPU, large maps are faster one peak at a time.
CHUNK_BYTES = {'cpu': 16 << 20}
CHUNK_BYTES_ELSEWHERE = 256 << 20


class Trace:
    """One recorded run of a network, from which any number of peaks can be propagated back.

    The network is not changed, and other threads and models are not affected. It must be in eval mode (its
    normalization must use fixed statistics); gradients need not be enabled.

    In half precision the activations are the network's own, but shares and maps are computed in single
    precision, as 1 / Z exceeds the range of half. The tensors in ``output`` must not be changed in place.

    Args:
        network (Callable): Takes the images and returns a tensor or nested tuples, lists and dicts of them.
        images (Tensor): Normalized images, has shape (B, 3, H, W).

    Attributes:
        output: What the network returned, with every tensor detached.
    """

    def __init__(self, network: Callable[[Tensor], Any], images: Tensor) -> None:
        if images.dim() != 4 or not images.is_floating_point():
            raise ValueError(f'images must be a float (B, 3, H, W) tensor, got {images.dtype}, '
                             f'shape {tuple(images.shape)}')
        with torch.inference_mode(False), torch.enable_grad():
            self._images = images.detach().clone().requires_grad_()
            with RecordPositiveLayers(len(images)) as recorder, checkpointed_blocks_inline():
                recorded = network(self._images)
        recorder.find_gains()
        self._recorded: list[tuple[Tensor, Tensor]] = []
        self.output = self._detach(recorded)
        if not self._recorded:
            raise ValueError('nothing that the network returned depends on the images differentiably: it '
                             'returned no such tensor, or it switches gradients off inside')
        warn_outside_theory([tensor for _, tensor in self._recorded])
        budget = CHUNK_BYTES.get(images.device.type, CHUNK_BYTES_ELSEWHERE)
        self._layers = recorder.layers
        largest = max((layer.x.numel() for layer in self._layers), default=1)
        self._together = max(1, budget // (largest * max(4, images.element_size())))

    def backpropagate(self, response: Tensor, peaks: Tensor) -> Tensor:
        """Propagate peaks of a response map back to the image.

        Args:
            response (Tensor): The response map, one of the tensors in ``output``, (B, C, h, w).
            peaks (Tensor): Rows (image, class, y, x) in pixels of the response map, long, (P, 4).

        Returns:
            Tensor: Peak Response Maps in image coordinates, at least 0, each summing to 1 or all zero,
            (P, H, W); float32, or float64 for float64 images.

        Raises:
            ValueError: If ``response`` is not of this trace or a peak lies outside of it.
        """
        recorded, images = self._find(response), self._images
        with torch.inference_mode(False), torch.autocast(images.device.type, enabled=False):
            peaks = check_peaks(response, peaks)  # on the CPU: a GPU is asked once, and sent each chunk once
            dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
            maps = torch.zeros((len(peaks), *images.shape[-2:]), dtype=dtype, device=images.device)
            turn = _turn_of_each(peaks[:, 0])  # a turn has at most one peak of every image
            turns = int(turn.max()) + 1 if len(peaks) else 0
            for first in range(0, turns, self._together):
                last = min(first + self._together, turns)
                rows = ((turn >= first) & (turn < last)).nonzero().flatten()
                chunk = torch.stack([rows, turn[rows] - first, *peaks[rows].T]).to(images.device, non_blocking=True)
                seeds = torch.zeros((last - first, *recorded.shape), dtype=recorded.dtype, device=recorded.device)
                seeds[tuple(chunk[1:])] = 1
                grads = self._differentiate(recorded, seeds)
                maps[chunk[0]] = grads[tuple(chunk[1:3])].to(dtype).sum(1)
            return normalize_maps(maps)

    def _differentiate(self, recorded: Tensor, seeds: Tensor) -> Tensor:
        """Compute the images' gradients for several gradients of an output: (n, B, C, h, w) -> (n, B, 3, H, W)."""
        def differentiate(seed: Tensor) -> Tensor:
            return torch.autograd.grad(recorded, self._images, seed, retain_graph=True)[0]

        if len(seeds) > 1 and self._together > 1:
            prepare(self._layers)  # what all peaks share must not be made while peaks are mapped over
            try:
                # autograd's own is_grads_batched would call the backward of every convolution for each peak
                return torch.func.vmap(differentiate)(seeds)
            except RuntimeError as error:  # the network's own functions may not support vmap, or memory is short
                self._together = 1
                warnings.warn('peak back-propagation takes one pass a peak through this network, which is slower: '
                              + str(error), stacklevel=3)
        return torch.stack([differentiate(seed) for seed in seeds])

    def _find(self, response: Tensor) -> Tensor:
        for detached, recorded in self._recorded:
            if detached is response:
                return recorded
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


def peak_response_maps(network: Callable[[Tensor], Tensor], images: Tensor, peaks: Tensor) -> Tensor:
    """Compute Peak Response Maps of given peaks for a network that returns the response map itself.

    Args:
        network (Callable): Takes images (B, 3, H, W) and returns the response map (B, C, h, w).
        images (Tensor): Normalized images, has shape (B, 3, H, W).
        peaks (Tensor): Rows (image, class, y, x) in pixels of the response map, long, (P, 4).

    Returns:
        Tensor: Maps in image coordinates, each sums to 1 or is all zero, has shape (P, H, W).
    """
    record = Trace(network, images)
    return record.backpropagate(record.output, peaks)


def normalize_maps(maps: Tensor) -> Tensor:
    """Clamp at zero and divide by the sum; maps without positive values become all zero. (P, H, W)."""
    maps = maps.clamp(min=0)
    largest = maps.flatten(1).amax(1) if len(maps) else maps.new_zeros(0)
    tiny = torch.finfo(maps.dtype).tiny
    maps /= largest.clamp(min=tiny)[:, None, None]
    return maps.div_(maps.sum((1, 2), keepdim=True).clamp(min=tiny))


def check_peaks(response: Tensor, peaks: Tensor) -> Tensor:
    """Check form and range of peaks and return them on the CPU."""
    if response.dim() != 4:
        raise ValueError(f'response must be (B, C, h, w), got shape {tuple(response.shape)}')
    if peaks.dim() != 2 or peaks.shape[1] != 4 or peaks.is_floating_point():
        raise ValueError('peaks must be an integer (P, 4) tensor of rows (image, class, y, x), got '
                         f'{peaks.dtype}, shape {tuple(peaks.shape)}')
    peaks = peaks.to('cpu', torch.long)
    if ((peaks < 0) | (peaks >= torch.tensor(response.shape))).any():
        raise ValueError(f'a peak lies outside of the response map of shape {tuple(response.shape)}')
    return peaks


def _turn_of_each(image_index: Tensor) -> Tensor:
    """Count the earlier peaks of the same image for each peak, (P,)."""
    same = image_index[:, None] == image_index
    return same.tril(-1).sum(1)
