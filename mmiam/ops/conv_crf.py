"""Convolutional CRF: mean-field inference in a dense CRF whose pairwise term ends with a K x K window.

    k(i, j) = compat_pos exp(-|p_i - p_j|^2 / 2 sigma_pos^2) + compat_col exp(-|c_i - c_j|^2 / 2 sigma_col^2)
    m_i(l)  = sum over j in the window of i of k(i, j) Q_j(l)
    Q_i(l)  = softmax over l of [a log P_i(l) + weight m_i(l)]

with positions p in pixels, colours c in RGB 0..255, and Potts compatibility (the paper's reference [32]). What the
public code of ConvCRF does differently from the equations is ``mode='reference'``, see :func:`conv_crf`.

Legend of shapes: I instances of one image, K labels, H x W pixels, h x w cells of blur x blur pixels.
"""
from functools import partial

import torch
from torch import Tensor

from .crf_kernels import Cells, Messages, Strip
from .parallel import run_parts

MODES = ('reference', 'mean_field')


class _TwoLabels:
    """Two labels as one plane: under Potts only z = score_1 - score_0 matters, and Q_1 = sigmoid(z).

    Messages are linear, so the message to the difference is the message of the difference Q_1 - Q_0 = 2 Q_1 - 1.
    """

    @staticmethod
    def planes(labels: int) -> int:
        return labels - 1

    @staticmethod
    def scores(unary: Tensor) -> Tensor:
        return unary[:, 1:] - unary[:, :1]

    @staticmethod
    def probabilities(scores: Tensor) -> Tensor:
        return scores.sigmoid_()

    @staticmethod
    def message_input(probabilities: Tensor) -> Tensor:
        return probabilities.mul_(2).sub_(1)

    @staticmethod
    def write(out: Tensor, probabilities: Tensor) -> None:
        out[:, 1] = probabilities[:, 0]
        torch.sub(1, out[:, 1], out=out[:, 0])


class _ManyLabels:
    """Any number of labels, a plane each."""

    @staticmethod
    def planes(labels: int) -> int:
        return labels

    @staticmethod
    def scores(unary: Tensor) -> Tensor:
        return unary.log_softmax(1)

    @staticmethod
    def probabilities(scores: Tensor) -> Tensor:
        return scores.softmax(1)

    @staticmethod
    def message_input(probabilities: Tensor) -> Tensor:
        return probabilities

    @staticmethod
    def write(out: Tensor, probabilities: Tensor) -> None:
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


class _Refinement:
    """The iterations, strip by strip; see crf_kernels for the cells, strips and phases."""

    def __init__(self, unary: Tensor, image: Tensor, out: Tensor, cells: Cells, messages: Messages,
                 keep: float, reference: bool) -> None:
        self.unary, self.image, self.out, self.cells, self.messages = unary, image, out, cells, messages
        self.keep, self.reference = keep, reference
        self.form = _TwoLabels if unary.size(1) == 2 else _ManyLabels
        self.num, self.planes = len(unary), self.form.planes(unary.size(1))
        self.group=int(__import__('os').environ.get('GROUP','5'))
        # label planes of this iteration and of the next one
        self.labels, self.following = (messages.empty(self.num * self.planes, out) for _ in range(2))
        self.scores, self.valid, self.counts, self.kernels = {}, {}, {}, {}
        self.col_counts = cells.edges(1).diff().to(out)

    def prepare(self, strip: Strip) -> None:
        """Scores of a strip as phases, its pooled colours, and the labels of the first step."""
        cells, out, rows = self.cells, self.out, self.cells.pixel_rows(strip)
        self.counts[strip] = cells.edges(0)[strip[0]:strip[1] + 1].diff().to(out)[:, None] * self.col_counts
        self.valid[strip] = None
        if any(cells.lacking):
            self.valid[strip] = cells.to_phases(out.new_ones(1, rows.stop - rows.start, cells.size[1]), strip)
        colours = cells.to_phases(self.image[:, rows].to(out.dtype), strip).sum(1).div_(self.counts[strip])
        self.messages.inner(self.messages.colours, strip).copy_(colours.mul_(self.messages.colour_scale))
        scores = self.form.scores(self.unary[:, :, rows].to(out.dtype))
        self.scores[strip] = cells.to_phases(scores.flatten(0, 1), strip).unflatten(0, (self.num, self.planes))
        if self.reference:  # log-probabilities
            pooled = self.scores[strip].sum(2).div_(self.counts[strip])
        else:
            pooled = self._pool(self.form.probabilities(self.scores[strip].clone()), strip)
        self.messages.inner(self.labels, strip).unflatten(0, (self.num, self.planes)).copy_(pooled)

    def _pool(self, probabilities: Tensor, strip: Strip) -> Tensor:
        """Probabilities (I, planes, b * b, R, w), used up -> what is passed on, (I, planes, R, w)."""
        if self.valid[strip] is not None:
            probabilities.mul_(self.valid[strip])
        return self.form.message_input(probabilities.sum(2).div_(self.counts[strip]))

    def step(self, strip: Strip, last: bool) -> None:
        """One iteration of a strip, to the following labels or, in the last, to the result."""
        cells, wide = self.cells, self.cells.around(strip)
        kernels = self.kernels.get(strip) or self.messages.kernels(wide)
        if self.messages.kept and strip not in self.kernels:
            kernels = self.kernels[strip] = list(kernels)
        message = self.messages(self.labels, wide, kernels).unflatten(0, (self.num, self.planes))
        following = self.messages.inner(self.following, strip).unflatten(0, (self.num, self.planes))
        rows = cells.pixel_rows(strip)
        for i in range(0, self.num, self.group):
            some = slice(i, i + self.group)
            phases = cells.upsample(message[some].flatten(0, 1), strip).unflatten(0, (-1, self.planes))
            labels = self.form.probabilities(phases.add_(self.scores[strip][some], alpha=self.keep))
            if last:
                pixels = cells.to_pixels(labels.flatten(0, 1), strip)
                self.form.write(self.out[some, :, rows], pixels.unflatten(0, (-1, self.planes)))
            else:
                following[some] = self._pool(labels, strip)

    def run(self, num_iters: int) -> None:
        device = self.out.device
        strips = self.cells.strips(self.num * self.planes, device)
        run_parts(self.prepare, strips, device)
        for iteration in range(num_iters):
            run_parts(partial(self.step, last=iteration == num_iters - 1), strips, device)
            self.labels, self.following = self.following, self.labels


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
    """Refine the label scores of an image's instances by a convolutional CRF.

    The filter bank is computed once and serves all instances. Messages are accumulated shift by shift, so memory does
    not grow with K x K copies of the labels; two labels cost one plane. Not differentiable. Defaults are those of the
    public ConvCRF code and its demo. Five instances of two labels, 500 x 375, one core: 20 ms of CPU time, 0.11 s
    without blur.

    ``mode='reference'``, the public code's conventions: a = unary_weight - weight; the first step passes
    log-probabilities instead of probabilities; a pixel is its own neighbour (the window's centre counts). That code
    leaves out the last softmax; it is applied here, which changes no argmax and makes the result probabilities.
    ``mode='mean_field'``, as the equations have it: a = unary_weight; the first step passes probabilities; j != i, so
    the window's centre is left out (with blur: the own cell). In both, what lies outside the image counts as zero,
    without renormalising.

    Args:
        unary (Tensor): Label scores, logits up to a constant per pixel, has shape (I, K, H, W).
        image (Tensor): The image, RGB in 0..255 (not normalised: ``col_sigma`` is in these units), has shape
            (3, H, W).
        kernel_size (int): Side K of the window, in cells, odd. Defaults to 7.
        blur (int): Side of a cell in pixels: labels and features are averaged over cells, messages passed between
            cells and upsampled bilinearly. Defaults to 4.
        num_iters (int): Mean-field iterations. Defaults to 5.
        pos_sigma (float): Scale of the position kernel in pixels. Defaults to 3.
        pos_compat (float): Factor of the position kernel. Defaults to 3.
        col_sigma (float): Scale of the colour kernel in grey levels. Defaults to 13.
        col_compat (float): Factor of the colour kernel. Defaults to 10.
        weight (float): Weight of the messages. Defaults to 0.2.
        unary_weight (float): Weight of the unary term. Defaults to 1.
        mode (str): 'reference' or 'mean_field'. Defaults to 'reference'.

    Returns:
        Tensor: Label probabilities, float32 (float64 for float64 input), has shape (I, K, H, W).

    Raises:
        ValueError: If shapes do not agree, ``kernel_size`` is even, or ``blur``, ``num_iters`` or ``mode`` is invalid.
    """
    _check(unary, image, kernel_size, blur, num_iters, mode)
    reference = mode == 'reference'
    out = torch.empty(unary.shape, dtype=torch.promote_types(unary.dtype, torch.float32), device=unary.device)
    if num_iters == 0:
        return torch.softmax(unary, 1, dtype=out.dtype)
    if len(unary):
        cells = Cells(tuple(unary.shape[-2:]), blur)
        messages = Messages(cells, kernel_size, (pos_sigma, col_sigma), (weight * pos_compat, weight * col_compat),
                            reference, out)
        keep = unary_weight - weight if reference else unary_weight
        _Refinement(unary, image, out, cells, messages, keep, reference).run(num_iters)
    return out
