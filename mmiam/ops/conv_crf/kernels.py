"""Message passing of the convolutional CRF, and the change between its two resolutions.

Legend: n planes (instances times labels), h x w cells at which messages are passed, K the window's side,
span = K // 2, b the blur (pixels of a cell's side), H x W pixels. The cells cover all pixels: h = ceil(H / b); where b
does not divide H, the first cell starts ceil(d / 2) pixels above the image, d = h * b - H (the rule of the public
code).

A *phase* is a pixel's place (p, q) in its cell. Full-resolution planes are kept phase by phase, (n, b * b, h, w):
pooling is then a sum over phases and bilinear upsampling a few interpolations of whole planes, all on contiguous
memory.

All planes at once, because what an operator computes in a plane takes little longer than to start it.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmiam.ops.parallel import limit_of

# Values of one strip of rows, all planes, to which messages are passed at a time. Our choice, the flat optimum measured
# on one core and on two; on other devices, where starting an operation costs more, larger.
_STRIP_VALUES = {'cpu': 400_000, 'other': 16_000_000}
# Kernel values of a strip that are computed at a time.
_RUN_VALUES = {'cpu': 100_000, 'other': 16_000_000}
# Kernel values kept from one iteration to the next (8 MiB as float32; 256 MiB on other devices); if there are more,
# they are computed anew in every iteration.
_KEPT_VALUES = {'cpu': 2_000_000, 'other': 64_000_000}

Strip = tuple[int, int]
Kernels = tuple[int, Sequence[Tensor], Sequence[Tensor]]


class Cells:
    """Conversion from pixels to cells and back (see the module's legend)."""

    def __init__(self, size: tuple[int, int], blur: int, like: Tensor) -> None:
        self.size, self.blur = size, blur
        self.cells = tuple(-(-length // blur) for length in size)
        self.lacking = [cell * blur - length for cell, length in zip(self.cells, size)]
        self.start = [-(-lack // 2) for lack in self.lacking]
        # first pixel of each cell along an axis, and of the one after the last, within the image; (h + 1,) and (w + 1,)
        edges = [(torch.arange(cells + 1, device=like.device) * blur - start).clamp(0, length).to(like)
                 for cells, start, length in zip(self.cells, self.start, size)]
        self.centers = [(edge[1:] + edge[:-1] - 1) / 2 for edge in edges]  # mean positions of the pixels
        self.counts = edges[0].diff()[:, None] * edges[1].diff()  # pixels of the image in each cell, (h, w)
        self.valid = None

    def prepare(self) -> None:
        """Mark the pixels that lie in the image, 1 or 0 as phases (b * b, h, w), unless all of them do."""
        if any(self.lacking):
            self.valid = self.to_phases(self.counts.new_ones(1, *self.size))[0]

    def to_phases(self, planes: Tensor) -> Tensor:
        """Convert pixels (n, H, W) to phases (n, b * b, h, w), zero where a cell extends beyond the image."""
        if self.blur == 1:
            return planes[:, None]
        (top, left), (rows, cols) = self.start, self.lacking
        if rows or cols:
            planes = F.pad(planes, (left, cols - left, top, rows - top))
        return F.pixel_unshuffle(planes[:, None], self.blur)

    def to_pixels(self, phases: Tensor) -> Tensor:
        """Convert phases (n, b * b, h, w) to pixels (n, H, W)."""
        if self.blur == 1:
            return phases[:, 0]
        (top, left), (height, width) = self.start, self.size
        return F.pixel_shuffle(phases, self.blur)[:, 0, top:top + height, left:left + width]

    def pool(self, phases: Tensor) -> Tensor:
        """Average over the image's pixels in each cell: (..., b * b, h, w), overwritten -> (..., h, w)."""
        if self.blur == 1:
            return phases.squeeze(-3)
        return (phases if self.valid is None else phases.mul_(self.valid)).sum(-3).div_(self.counts)

    def scratch(self, phases: Tensor) -> tuple[Tensor, Tensor]:
        """Allocate memory for :meth:`upsample` to as many planes as ``phases``."""
        num, (h, w) = len(phases), self.cells
        return phases.new_empty(num, self.blur, h, w + 2), phases.new_empty(num, self.blur, self.blur, h, w)

    def upsample(self, planes: Tensor, scratch: tuple[Tensor, Tensor]) -> Tensor:
        """Upsample bilinearly by b (cell centers as samples, edges repeated), (n, h, w) -> phases (n, b * b, h, w).

        The result lies in ``scratch``, without blur in ``planes``.
        """
        blur, (h, w), num = self.blur, self.cells, len(planes)
        if blur == 1:
            return planes[:, None]
        planes = F.pad(planes[:, None], (1, 1, 1, 1), mode='replicate')[:, 0]
        rows, phases = (memory[:num] for memory in scratch)
        # where each phase lies, in cells from the center of the padded cell before: whole ones and the rest
        places = [(int(place), place % 1) for place in ((phase + .5) / blur + .5 for phase in range(blur))]
        for phase, (first, share) in enumerate(places):
            torch.lerp(planes[:, first:first + h], planes[:, first + 1:first + 1 + h], share, out=rows[:, phase])
        for phase, (first, share) in enumerate(places):
            torch.lerp(rows[..., first:first + w], rows[..., first + 1:first + 1 + w], share, out=phases[:, :, phase])
        return phases.flatten(1, 2)


class Messages:
    """The kernel sum over the K x K window, for any number of planes.

    k(i, j) = pos_scale * exp(-|p_i - p_j|^2 / 2) + col_scale * exp(-|c_i - c_j|^2 / 2) with positions p and colors c
    of the cells divided by their sigmas. As k(i, j) = k(j, i), half of the window is computed and each kernel serves
    both directions. Planes lie flat with ``margin`` zeros before and after (:meth:`flat`): a shift by (dy, dx) is a
    contiguous slice shifted by dy * w + dx; where it runs over a row's end the kernel is zero, above and below the
    image the values are.
    """

    def __init__(self, cells: Cells, kernel_size: int, sigmas: tuple[float, float], scales: tuple[float, float],
                 center: bool, most_planes: int) -> None:
        """``sigmas`` and ``scales`` of position and color; ``most_planes`` at a time."""
        self.cells, self.sigmas, self.scales = cells, sigmas, scales
        self.size = h, w = cells.cells
        self.down, self.across = min(kernel_size // 2, h - 1), min(kernel_size // 2, w - 1)
        self.margin = (self.down + 1) * w
        self.center = sum(scales) if center else 0.
        height = max(1, limit_of(_STRIP_VALUES, cells.counts.device) // (most_planes * w))
        self.strips = [(top, min(top + height, h)) for top in range(0, h, height)]
        self.kept: dict | None = None

    def prepare(self, image: Tensor) -> None:
        """Compute what the kernels need of an image (channels, H, W), and the kernels themselves if they are few."""
        (h, w), cells = self.size, self.cells
        cells.prepare()
        colors = cells.pool(cells.to_phases(image)) * (.5**.5 / self.sigmas[1])
        self.colors = F.pad(colors.flatten(1), (self.margin, self.margin))
        rows, cols = (centers / self.sigmas[0] for centers in cells.centers)
        rows = F.pad(rows, (self.down + 1, 2 * self.down + 1))
        self.row_kernels = [(rows.roll(-dy) - rows).square_().mul_(-.5).exp_()[:, None] for dy in range(self.down + 1)]
        # A flat shift runs over a row's end into the next row. A margin at each row would stop it, but rows would no
        # longer be one contiguous slice; so the kernel is zero where the neighbor lies in another row.
        # of each dx from -across, (2 * across + 1, 1, w); zero where i + dx lies in another row
        there = torch.arange(-self.across, self.across + 1, device=cols.device)[:, None, None]
        there = there + torch.arange(w, device=cols.device)
        inside = ((there >= 0) & (there < w)).to(cols)
        self.col_scales = inside * self.scales[1]
        self.col_kernels = (cols[there.clamp(0, w - 1)] - cols).square_().mul_(-.5).exp_().mul_(inside)
        self.col_kernels.mul_(self.scales[0])
        if (self.down + 1) * (2 * self.across + 1) * h * w <= limit_of(_KEPT_VALUES, image.device):
            self.kept = {strip: list(self._kernels(strip)) for strip in self.strips}

    def __call__(self, planes: Tensor) -> Tensor:
        """Replace the values sent by the messages to every cell, in place: (n, h, w), contiguous.

        Cells outside the image count as zero.
        """
        w, length = self.size[1], planes[0].numel()
        values = planes.new_zeros(len(planes), length + 2 * self.margin)
        message = planes.flatten(1)
        values[:, self.margin:-self.margin] = message
        message.mul_(self.center)
        # Strip by strip: over whole planes each of the K * K multiply-adds would fetch everything from memory again.
        for strip in self.strips:
            kernels = self.kept[strip] if self.kept else self._kernels(strip)
            self._add(message[:, strip[0] * w:strip[1] * w], values, strip[0], kernels)
        return planes

    def _add(self, message: Tensor, values: Tensor, top: int, kernels: Iterable[Kernels]) -> None:
        """Add the messages to the cells of a strip from the row ``top``, (n, R * w)."""
        first, length = self.margin + top * self.size[1], message.size(1)

        def shifted(shift: int, num: int) -> Sequence[Tensor]:
            return values.as_strided((len(values), num, length), (values.stride(0), 1, 1), first + shift).unbind(1)

        for shift, forth, back in kernels:
            num = len(forth)
            for value, kernel in zip(shifted(shift, num), forth):
                message.addcmul_(value, kernel)
            for value, kernel in zip(shifted(1 - num - shift, num), reversed(back)):
                message.addcmul_(value, kernel)

    def _kernels(self, strip: Strip) -> Iterator[Kernels]:
        """Compute the kernels between the cells i of a strip of R rows and those around them, by runs of shifts.

        Yields (shift, [k(i, i + shift), k(i, i + shift + 1), ...], [k(i, i - shift), k(i, i - shift - 1), ...]), each
        of shape (R * w,).
        """
        (top, bottom), width, above = strip, self.size[1], self.margin // self.size[1]
        length = (bottom - top) * width
        most = min(max(1, limit_of(_RUN_VALUES, self.colors.device) // length), 2 * self.across + 1)
        scratch = self.colors.new_empty(len(self.colors) * most * (length + self.margin))
        for dy, dx, num in self._runs(most):
            shift, rows = dy * width + dx, dy + 1  # so many rows more above hold all i - shift
            first, last = self.margin + (top - rows) * width, self.margin + bottom * width
            here, run = rows * width, slice(dx + self.across, dx + self.across + num)
            there = self.colors.as_strided((len(self.colors), num, last - first), (self.colors.stride(0), 1, 1),
                                            first + shift)
            # an overlapping operand would have its result permuted, hence out
            color = torch.sub(there, self.colors[:, None, first:last], out=scratch[:there.numel()].view(there.shape))
            kernels = color.square_().sum(0).neg_().exp_()
            kernels = kernels.unflatten(1, (-1, width)).mul_(self.col_scales[run])
            kernels.addcmul_(self.row_kernels[dy][top - rows + above:bottom + above], self.col_kernels[run])
            # k(i, i - s) = k(i - s, i): the numbers computed for s, read s cells earlier. Row n holds the shift s + n,
            # one cell farther back, hence the stride less one. No kernel is computed twice.
            back = kernels.as_strided((num, length), (kernels.stride(0) - 1, 1), here - shift)
            yield shift, kernels.flatten(1)[:, here:].unbind(0), back.unbind(0)

    def _runs(self, most: int) -> Iterator[tuple[int, int, int]]:
        """Yield half of the window as runs of neighboring shifts: (dy, dx of the first, number)."""
        for dy in range(len(self.row_kernels)):
            for dx in range(-self.across if dy else 1, self.across + 1, most):
                yield dy, dx, min(most, self.across + 1 - dx)
