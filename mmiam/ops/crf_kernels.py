"""Message passing of the convolutional CRF, and the change between its two resolutions.

Legend of shapes: n planes (instances times labels), h x w cells at which messages are passed, P = h * w, K the
window's side, span = K // 2, b the blur (pixels of a cell's side), H x W pixels. The cells cover all pixels:
h = ceil(H / b); where b does not divide H, the first cell starts ceil(d / 2) pixels above the image, d = h * b - H
(the rule of the public code).

A *phase* is a pixel's place (p, q) in its cell. Full-resolution planes are kept phase by phase, (n, b * b, h, w):
pooling is then a sum over phases and bilinear upsampling a few interpolations of whole planes, all on contiguous
memory.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# Kernel values of one strip of rows: a strip's kernels and labels stay in the cache. Our choice, the flat
# optimum measured on one core; on other devices, where starting an operation costs more, larger.
_STRIP_VALUES = {'cpu': 1_000_000, 'other': 16_000_000}
# Kernel values kept from one iteration to the next (8 MiB as float32); if there are more, each strip's are computed
# anew in every iteration: at 500 x 375, K = 7 without blur 106 instead of 65 ms of CPU time for 5 instances, but 4
# instead of 18 MiB of kernels.
_KEPT_VALUES = 2_000_000


class Cells:
    """Pixels to cells and back (see the module's legend)."""

    def __init__(self, size: tuple[int, int], blur: int) -> None:
        self.size, self.blur = size, blur
        self.cells = tuple(-(-length // blur) for length in size)
        self.lacking = [cell * blur - length for cell, length in zip(self.cells, size)]
        self.start = [-(-lack // 2) for lack in self.lacking]

    def to_phases(self, planes: Tensor) -> Tensor:
        """Pixels (n, H, W) -> phases (n, b * b, h, w); where a cell reaches out of the image, zero."""
        if self.blur == 1:
            return planes[:, None]
        (top, left), (rows, cols) = self.start, self.lacking
        padded = F.pad(planes, (left, cols - left, top, rows - top))
        return F.pixel_unshuffle(padded[:, None], self.blur)

    def to_pixels(self, phases: Tensor) -> Tensor:
        """Phases (n, b * b, h, w) -> pixels (n, H, W)."""
        if self.blur == 1:
            return phases[:, 0]
        (top, left), (height, width) = self.start, self.size
        return F.pixel_shuffle(phases, self.blur)[:, 0, top:top + height, left:left + width]

    def counts(self, like: Tensor) -> Tensor:
        """Pixels of the image in each cell, has shape (h, w)."""
        return self.to_phases(like.new_ones(1, *self.size)).sum((0, 1))

    def pool(self, planes: Tensor) -> Tensor:
        """Mean over the image's pixels in each cell, (n, H, W) -> (n, h, w)."""
        if self.blur == 1:
            return planes
        return F.avg_pool2d(planes[:, None], self.blur, padding=self.start, count_include_pad=False)[:, 0]

    def upsample(self, planes: Tensor) -> Tensor:
        """Bilinear upsampling by b (cell centres as samples, edges repeated), (n, h, w) -> phases (n, b * b, h, w)."""
        blur, (h, w) = self.blur, self.cells
        if blur == 1:
            return planes[:, None]
        planes = F.pad(planes[:, None], (1, 1, 1, 1), mode='replicate')[:, 0]
        rows = planes.new_empty(len(planes), blur, h, w + 2)
        phases = planes.new_empty(len(planes), blur, blur, h, w)
        for phase in range(blur):
            place = (phase + .5) / blur + .5  # from the centre of the padded cell before this one, in cells
            first, share = int(place), place - int(place)
            torch.lerp(planes[:, first:first + h], planes[:, first + 1:first + 1 + h], share, out=rows[:, phase])
        for phase in range(blur):
            place = (phase + .5) / blur + .5
            first, share = int(place), place - int(place)
            torch.lerp(rows[..., first:first + w], rows[..., first + 1:first + 1 + w], share, out=phases[:, :, phase])
        return phases.flatten(1, 2)


class Messages:
    """The kernel sum over the K x K window, for any number of planes.

    k(i, j) = pos_scale * exp(-|p_i - p_j|^2 / 2) + col_scale * exp(-|c_i - c_j|^2 / 2) with positions p and colours c
    already divided by their sigmas. As k(i, j) = k(j, i), half of the window is computed and each kernel plane serves
    both directions. Planes lie flat: a shift by (dy, dx) is a contiguous slice shifted by dy * w + dx; where it runs
    over a row's end the kernel is set to zero.
    """

    def __init__(self, rows: Tensor, cols: Tensor, colours: Tensor, kernel_size: int, pos_scale: float,
                 col_scale: float, centre: bool) -> None:
        """rows (h,), cols (w,) and colours (channels, h, w) of the cells, divided by their sigmas."""
        self.span = kernel_size // 2
        self.cells = h, w = (len(rows), len(cols))
        self.colours = F.pad(colours.flatten(1) * .5**.5, (0, self.span))
        self.centre = pos_scale + col_scale if centre else 0.
        self.shifts = [(dy, dx) for dy in range(min(self.span, h - 1) + 1)
                       for dx in range(-min(self.span, w - 1), min(self.span, w - 1) + 1) if dy > 0 or dx > 0]
        self.row_kernels = [self._difference_kernel(rows, dy) for dy in range(min(self.span, h - 1) + 1)]
        self.col_kernels = {dx: self._difference_kernel(cols, dx) * pos_scale for _, dx in self.shifts}
        self.inside = {dx: self._difference_kernel(torch.zeros_like(cols), dx) * col_scale for _, dx in self.shifts}
        values = _STRIP_VALUES['cpu' if rows.device.type == 'cpu' else 'other']
        height = max(1, values // max(1, len(self.shifts) * w))
        self.strips = [(top, min(top + height, h)) for top in range(0, h, height)]
        self.kept = None
        if len(self.shifts) * h * w <= _KEPT_VALUES:
            self.kept = [self._kernels(*strip) for strip in self.strips]

    @staticmethod
    def _difference_kernel(places: Tensor, shift: int) -> Tensor:
        """exp(-d^2 / 2) of each place and the one ``shift`` further on, (n,) -> (n,); zero where there is none."""
        there = places.roll(-shift)
        kernel = (there - places).square_().mul_(-.5).exp_()
        kernel[len(places) - shift if shift > 0 else 0:len(places) if shift > 0 else -shift] = 0
        return kernel

    def _kernels(self, top: int, bottom: int) -> list[tuple[int, int, Tensor]]:
        """(first cell, shift, kernel values) for the rows [top, bottom) of a strip, one entry per shift."""
        h, w = self.cells
        entries = []
        for dy, dx in self.shifts:
            end = min(bottom, h - dy)
            if end <= top:
                continue
            first, shift, length = top * w, dy * w + dx, (end - top) * w
            colour = self.colours[:, first + shift:first + shift + length] - self.colours[:, first:first + length]
            kernel = colour.square_().sum(0).neg_().exp_().view(-1, w).mul_(self.inside[dx])
            kernel.addcmul_(self.row_kernels[dy][top:end, None], self.col_kernels[dx])
            entries.append((first, shift, kernel.view(-1)))
        return entries

    def __call__(self, planes: Tensor) -> Tensor:
        """Messages to every cell: (n, h, w) -> (n, h, w). Cells outside the image count as zero."""
        values = F.pad(planes.flatten(1), (0, self.span))
        message = values * self.centre
        for number, strip in enumerate(self.strips):
            for first, shift, kernel in self.kept[number] if self.kept else self._kernels(*strip):
                here, there = (slice(at, at + len(kernel)) for at in (first, first + shift))
                message[:, here].addcmul_(values[:, there], kernel)
                message[:, there].addcmul_(values[:, here], kernel)
        return message[:, :planes[0].numel()].view_as(planes)
