"""Convolutional CRF: mean-field inference in a dense CRF whose pairwise term ends with a K x K window.

    k(i, j) = compat_pos exp(-|p_i - p_j|^2 / 2 sigma_pos^2) + compat_col exp(-|c_i - c_j|^2 / 2 sigma_col^2)
    m_i(l)  = sum over j in the window of i of k(i, j) Q_j(l)
    Q_i(l)  = softmax over l of [a log P_i(l) + weight m_i(l)]

with positions p in pixels, colors c in RGB 0..255, and Potts compatibility (the paper's reference [32]). What the
public code of ConvCRF does differently from the equations is ``mode='reference'``, see :func:`conv_crf`.

Legend: I instances of one image, K labels, H x W pixels, h x w cells of blur x blur pixels.
"""
from __future__ import annotations

import torch
from torch import Tensor

from mmiam.ops.parallel import limit_of, num_workers, run_parts

from .kernels import Cells, Messages

MODES = ('reference', 'mean_field')
# Pixels of all labels that are updated at a time, in whole instances: what the cache holds; on other devices, where
# starting an operation costs more, larger. Our choice.
_PIXEL_VALUES = {'cpu': 200_000, 'other': 64_000_000}
# Cells of all labels from which a part of the instances is worth a core of its own: with fewer, cores wait for each
# other between the operators for longer than these take. Our choice.
_PART_VALUES = 100_000


# Two labels are one plane: under Potts only the difference of their scores, z = score_1 - score_0, matters. More labels
# have a plane each. The next four functions are all that depends on it; P planes are 1 for two labels, else K.

def _scores_of(unary: Tensor) -> Tensor:
    """Compute the scores of the planes: (I, K, H, W) -> (I, P, H, W)."""
    return unary[:, 1:] - unary[:, :1] if unary.size(1) == 2 else unary.log_softmax(1)


def _probabilities(scores: Tensor) -> Tensor:
    """Q_1 = sigmoid(z) of one plane, in place of the scores; else Q of each label."""
    return scores.sigmoid_() if scores.size(1) == 1 else scores.softmax(1)


def _message_input(probabilities: Tensor) -> Tensor:
    """What neighbors send. Messages are linear: that to z is the message of Q_1 - Q_0 = 2 Q_1 - 1, in place of Q_1."""
    return probabilities.mul_(2).sub_(1) if probabilities.size(1) == 1 else probabilities


def _write(out: Tensor, probabilities: Tensor) -> None:
    """Convert the probabilities of the planes to those of the labels, (I, K, H, W), in ``out``."""
    if probabilities.size(1) == 1:
        torch.sub(1, probabilities, out=out[:, :1])
        out[:, 1:] = probabilities
    else:
        out.copy_(probabilities)


def _check(unary: Tensor, image: Tensor, kernel_size: int, blur: int, num_iters: int, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
    if unary.dim() != 4 or image.dim() != 3 or unary.shape[-2:] != image.shape[-2:]:
        raise ValueError('unary must be (I, K, H, W) and image (3, H, W) of the same size, got '
                         f'{tuple(unary.shape)} and {tuple(image.shape)}')
    if unary.size(1) < 1 or image.numel() == 0:
        raise ValueError(f'need a label and a pixel at least, got unary {tuple(unary.shape)}')
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
    if blur < 1 or num_iters < 0:
        raise ValueError(f'blur must be at least 1 and num_iters at least 0, got {blur} and {num_iters}')


@torch.no_grad()
def conv_crf(unary: Tensor,
             image: Tensor,
             kernel_size: int = 7,
             blur: int = 4,
             num_iters: int = 5,
             pos_sigma: float = 3.,
             pos_compat: float = 3.,
             col_sigma: float = 13.,
             col_compat: float = 10.,
             weight: float = .2,
             unary_weight: float = 1.,
             mode: str = 'reference') -> Tensor:
    """Refine the label scores of an image's instances with a convolutional CRF.

    The filter bank is computed once and serves all instances. Messages are accumulated shift by shift, so memory does
    not grow with K x K copies of the labels; two labels cost one plane. Not differentiable. Defaults are those of the
    public ConvCRF code and its demo. Five instances of two labels, 500 x 375, on one core of a busy machine: 39 ms,
    against 267 ms for the unfold form of each; without blur 240 ms against 5.4 s (docs/benchmarks.md).

    ``mode='reference'``, the public code's conventions: a = unary_weight - weight; the first step passes
    log-probabilities instead of probabilities; a pixel is its own neighbor (the window's center counts). That code
    leaves out the last softmax; it is applied here, which changes no argmax and makes the result probabilities.
    ``mode='mean_field'``, as the equations have it: a = unary_weight; the first step passes probabilities; j != i, so
    the window's center is left out (with blur: the own cell). In both, what lies outside the image counts as zero,
    without renormalizing.

    Args:
        unary (Tensor): Label scores, logits up to a constant per pixel, has shape (I, K, H, W).
        image (Tensor): The image, RGB in 0..255 (not normalized: ``col_sigma`` is in these units), has shape
            (3, H, W).
        kernel_size (int): Side K of the window, in cells, odd. Defaults to 7.
        blur (int): Side of a cell in pixels: labels and features are averaged over cells, messages passed between
            cells and upsampled bilinearly. Defaults to 4.
        num_iters (int): Mean-field iterations. Defaults to 5.
        pos_sigma (float): Scale of the position kernel in pixels. Defaults to 3.
        pos_compat (float): Factor of the position kernel. Defaults to 3.
        col_sigma (float): Scale of the color kernel in gray levels. Defaults to 13.
        col_compat (float): Factor of the color kernel. Defaults to 10.
        weight (float): Weight of the messages. Defaults to 0.2.
        unary_weight (float): Weight of the unary term. Defaults to 1.
        mode (str): 'reference' or 'mean_field'. Defaults to 'reference'.

    Returns:
        Tensor: Label probabilities, float32 (float64 for float64 input), has shape (I, K, H, W).

    Raises:
        ValueError: If shapes do not agree, ``kernel_size`` is even, or ``blur``, ``num_iters`` or ``mode`` is invalid.
    """
    _check(unary, image, kernel_size, blur, num_iters, mode)
    dtype = torch.promote_types(unary.dtype, torch.float32)
    (num, labels), size = unary.shape[:2], unary.shape[-2:]
    if num_iters == 0 or num == 0 or labels == 1:  # one label has probability 1, whatever is said of it
        return unary.softmax(1, dtype=dtype)
    unary, image = unary.to(dtype), image.to(dtype)
    reference = mode == 'reference'
    keep = unary_weight - weight if reference else unary_weight
    out, planes, cells = torch.empty_like(unary), 1 if labels == 2 else labels, Cells(tuple(size), blur, unary)
    # the instances are divided between cores where there are enough
    few = -(-_PART_VALUES // (planes * cells.counts.numel()))
    share = min(num, max(few, -(-num // num_workers(unary.device))))
    messages = Messages(cells, kernel_size, (pos_sigma, col_sigma), (weight * pos_compat, weight * col_compat),
                        reference, share * planes)
    run_parts(messages.prepare, [image], unary.device)
    run_parts(lambda part: _iterate(out[part], unary[part], keep, reference, cells, messages, num_iters),
              [slice(i, i + share) for i in range(0, num, share)], unary.device)
    return out


def _iterate(out: Tensor, unary: Tensor, keep: float, reference: bool, cells: Cells, messages: Messages,
             num_iters: int) -> None:
    """Run the iterations: label scores (I, K, H, W) -> probabilities, written into ``out``."""
    num, planes = len(unary), 1 if unary.size(1) == 2 else unary.size(1)
    scores = unary.new_empty(num, planes, cells.blur**2, *cells.cells)
    labels = unary.new_empty(num, planes, *cells.cells)
    share = max(1, limit_of(_PIXEL_VALUES, unary.device) // scores[0].numel())
    parts = [slice(i, i + share) for i in range(0, num, share)]
    for part in parts:
        phases = scores[part]
        phases.copy_(cells.to_phases(_scores_of(unary[part]).flatten(0, 1)).view_as(phases))
        labels[part] = cells.pool(phases) if reference else _message_input(cells.pool(_probabilities(phases.clone())))
    scratch = cells.scratch(scores[:share].flatten(0, 1))
    for iteration in range(num_iters):
        messages(labels.flatten(0, 1))
        for part in parts:
            phases = cells.upsample(labels[part].flatten(0, 1), scratch).view_as(scores[part])
            result = _probabilities(phases.add_(scores[part], alpha=keep))
            if iteration == num_iters - 1:
                _write(out[part], cells.to_pixels(result.flatten(0, 1)).unflatten(0, (-1, planes)))
            else:  # takes the place of the message, which is used up
                labels[part] = _message_input(cells.pool(result))
