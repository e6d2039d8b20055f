"""Message passing of the convolutional CRF, and the change between its two resolutions.

Legend of shapes: n planes (instances times labels), h x w cells at which messages are passed, K the window's side,
span = K // 2, b the blur (pixels of a cell's side), H x W pixels. The cells cover all pixels: h = ceil(H / b); where b
does not divide H, the first cell starts ceil(d / 2) pixels above the image, d = h * b - H (the rule of the public
code). A *strip* (top, bottom) is the rows top <= y < bottom of cells, R = bottom - top; strips are independent of each
other within an iteration.

A *phase* is a pixel's place (p, q) in its cell. Full-resolution planes are kept phase by phase, (n, b * b, R, w):
pooling is then a sum over phases and bilinear upsampling a few interpolations of whole planes, all on contiguous
memory.
"""
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .parallel import num_workers

# Values of one strip, all planes: an operation's memory stays in the cache, starting it costs less than computing. Our
# choice, the flat optimum measured on two cores; on other devices, where starting an operation costs more, larger.
_STRIP_VALUES = {'cpu': 150_000, 'other': 16_000_000}
# Kernel values of the shifts that are computed at a time.
_RUN_VALUES = {'cpu': 100_000, 'other': 16_000_000}
# Kernel values kept from one iteration to the next (8 MiB as float32); if there are more, each is computed anew in every
# iteration.
_KEPT_VALUES = 2_000_000

Strip = tuple[int, int]
Kernels = tuple[int, Sequence[Tensor], Sequence[Tensor]]


class Cells:
    """Pixels to cells and back (see the module's legend)."""

    def __init__(self, size: tuple[int, int], blur: int) -> None:
        self.size, self.blur = size, blur
        self.cells = tuple(-(-length // blur) for length in size)
        self.lacking = [cell * blur - length for cell, length in zip(self.cells, size)]
        self.start = [-(-lack // 2) for lack in self.lacking]

    def strips(self, planes: int, device: torch.device) -> list[Strip]:
        """Strips of about equal height, as many for each core."""
        rows, cols = self.cells
        workers = num_workers(device)
        values = _STRIP_VALUES['cpu' if device.type == 'cpu' else 'other'] * workers
        height = -(-rows // (workers * -(-planes * rows * cols // values)))
        return [(top, min(top + height, rows)) for top in range(0, rows, height)]

    def edges(self, axis: int) -> Tensor:
        """First pixel of each cell along an axis, and of the one after the last, within the image; (h + 1,)."""
        return (torch.arange(self.cells[axis] + 1) * self.blur - self.start[axis]).clamp(0, self.size[axis])

    def pixel_rows(self, strip: Strip) -> slice:
        """The image's rows in a strip."""
        top, bottom = (y * self.blur - self.start[0] for y in strip)
        return slice(max(top, 0), min(bottom, self.size[0]))

    def to_phases(self, planes: Tensor, strip: Strip) -> Tensor:
        """A strip's pixels (n, rows, W) -> phases (n, b * b, R, w); where a cell reaches out of the image, zero."""
        if self.blur == 1:
            return planes[:, None]
        rows, left = self.pixel_rows(strip), self.start[1]
        top, bottom = (y * self.blur - self.start[0] for y in strip)
        lacking = (left, self.lacking[1] - left, rows.start - top, bottom - rows.stop)
        return F.pixel_unshuffle((F.pad(planes, lacking) if any(lacking) else planes)[:, None], self.blur)

    def to_pixels(self, phases: Tensor, strip: Strip) -> Tensor:
        """Phases (n, b * b, R, w) -> a strip's pixels (n, rows, W)."""
        if self.blur == 1:
            return phases[:, 0]
        rows, left = self.pixel_rows(strip), self.start[1]
        top = rows.start - strip[0] * self.blur + self.start[0]
        return F.pixel_shuffle(phases, self.blur)[:, 0, top:top + rows.stop - rows.start, left:left + self.size[1]]

    def around(self, strip: Strip) -> Strip:
        """The strip from which :meth:`upsample` makes this one: a row more on each side, where there is one."""
        return strip if self.blur == 1 else (max(strip[0] - 1, 0), min(strip[1] + 1, self.cells[0]))

    def upsample(self, planes: Tensor, strip: Strip) -> Tensor:
        """Bilinear upsampling by b: the cells around a strip (n, rows, w) -> the strip's phases (n, b * b, R, w).

        Cell centres are the samples; the image's edges are repeated.
        """
        blur, h, w = self.blur, strip[1] - strip[0], self.cells[1]
        if blur == 1:
            return planes[:, None]
        first, last = self.around(strip)
        planes = F.pad(planes[:, None], (1, 1, first == strip[0], last == strip[1]), mode='replicate')[:, 0]
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
    divided by their sigmas. As k(i, j) = k(j, i), half of the window is computed and each kernel plane serves both
    directions. Planes lie flat with ``margin`` zeros before and after (:meth:`empty`): a shift by (dy, dx) is a
    contiguous slice shifted by dy * w + dx; where it runs over a row's end the kernel is zero, above and below the
    image the values are.
    """

    def __init__(self, cells: Cells, kernel_size: int, sigmas: tuple[float, float], scales: tuple[float, float],
                 centre: bool, like: Tensor) -> None:
        """``sigmas`` and ``scales`` of position and colour.

        The caller writes the cells' colours, times ``colour_scale``, into ``inner(colours)``.
        """
        span = kernel_size // 2
        self.cells = h, w = cells.cells
        down, self.across = min(span, h - 1), min(span, w - 1)
        self.margin = (down + 1) * w
        self.centre = sum(scales) if centre else 0.
        self.colours, self.colour_scale = self.empty(3, like), .5**.5 / sigmas[1]
        edges = [cells.edges(axis).to(like) for axis in (0, 1)]
        rows, cols = ((edge[1:] + edge[:-1] - 1) / 2 / sigmas[0] for edge in edges)
        rows = F.pad(rows, (down + 1, 2 * down + 1))
        self.row_kernels = [(rows.roll(-dy) - rows).square_().mul_(-.5).exp_()[:, None] for dy in range(down + 1)]
        # of each dx from -across, (2 * across + 1, 1, w); zero where i + dx lies in another row
        there = torch.arange(-self.across, self.across + 1)[:, None, None] + torch.arange(w)
        inside = ((there >= 0) & (there < w)).to(like)
        self.col_scales = inside * scales[1]
        self.col_kernels = (cols[there.clamp(0, w - 1)] - cols).square_().mul_(-.5).exp_().mul_(inside).mul_(scales[0])
        self.kept = (down + 1) * (2 * self.across + 1) * h * w <= _KEPT_VALUES

    def empty(self, planes: int, like: Tensor) -> Tensor:
        """Flat planes to be written, zero in the margins only: (n, margin + h * w + margin)."""
        buffer = like.new_empty(planes, self.cells[0] * self.cells[1] + 2 * self.margin)
        buffer[:, :self.margin].zero_()
        buffer[:, -self.margin:].zero_()
        return buffer

    def inner(self, buffer: Tensor, strip: Strip) -> Tensor:
        """A strip of flat planes, a view (n, R, w)."""
        width = self.cells[1]
        return buffer[:, self.margin + strip[0] * width:self.margin + strip[1] * width].unflatten(1, (-1, width))

    def kernels(self, strip: Strip) -> Iterator[Kernels]:
        """Kernels between the cells i of a strip and those around them, a run of shifts at a time.

        Yields (shift, [k(i, i + shift), k(i, i + shift + 1), ...], [k(i, i - shift), k(i, i - shift - 1), ...]), each
        of shape (R * w,).
        """
        (top, bottom), width, above = strip, self.cells[1], self.margin // self.cells[1]
        length = (bottom - top) * width
        for dy, dx, num in self.runs(length):
            shift, rows = dy * width + dx, dy + 1  # so many rows more above hold all i - shift
            first, last = self.margin + (top - rows) * width, self.margin + bottom * width
            here, run = rows * width, slice(dx + self.across, dx + self.across + num)
            there = self.colours.as_strided((3, num, last - first), (self.colours.stride(0), 1, 1), first + shift)
            colour = self.colours.new_empty(there.shape)  # an overlapping operand would have its result permuted
            torch.sub(there, self.colours[:, None, first:last], out=colour).square_()
            kernels = colour[0].add_(colour[1]).add_(colour[2]).neg_().exp_().unflatten(1, (-1, width))
            kernels.mul_(self.col_scales[run]).addcmul_(
                self.row_kernels[dy][top - rows + above:bottom + above], self.col_kernels[run])
            back = kernels.as_strided((num, length), (kernels.stride(0) - 1, 1), here - shift)
            yield shift, kernels.flatten(1)[:, here:].unbind(0), back.unbind(0)

    def runs(self, length: int) -> Iterator[tuple[int, int, int]]:
        """Half of the window as runs of neighbouring shifts: (dy, dx of the first, number)."""
        most = max(1, _RUN_VALUES['cpu' if self.colours.device.type == 'cpu' else 'other'] // length)
        for dy in range(len(self.row_kernels)):
            for dx in range(-self.across if dy else 1, self.across + 1, most):
                yield dy, dx, min(most, self.across + 1 - dx)

    def __call__(self, values: Tensor, strip: Strip, kernels: Iterable[Kernels]) -> Tensor:
        """Messages to the cells of a strip: flat planes (n, ...) -> (n, R, w). What lies outside the image is zero."""
        first, length = self.margin + strip[0] * self.cells[1], (strip[1] - strip[0]) * self.cells[1]

        def shifted(shift: int, num: int) -> Sequence[Tensor]:
            return values.as_strided((len(values), num, length), (values.stride(0), 1, 1), first + shift).unbind(1)

        message = values.narrow(1, first, length) * self.centre
        for shift, forth, back in kernels:
            num = len(forth)
            for value, kernel in zip(shifted(shift, num), forth):
                message.addcmul_(value, kernel)
            for value, kernel in zip(shifted(1 - num - shift, num), reversed(back)):
                message.addcmul_(value, kernel)
        return message.unflatten(1, (-1, self.cells[1]))
