"""Windows on feature maps: the part of a map in which a peak's gradient can be non-zero.

The gradient of one peak starts at one pixel and widens with every convolution on its way to the image. A
batch of peaks is propagated on windows of one common size, each peak's at its own place. A window may stick
out of its map; the gradient out there is zero.

Legend: P peaks, C channels, H x W map, h x w window. ``window=None`` stands for the whole map.
"""
from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A window of each peak on its map, in pixels of that map.

    Args:
        starts (tuple): Top left corner (y, x) of each peak's window; may be negative.
        size (tuple): Height and width shared by all peaks.
    """
    starts: tuple[tuple[int, int], ...]
    size: tuple[int, int]

    def rows(self, first: int, last: int) -> Window:
        """The windows of peaks ``first`` to ``last - 1``."""
        return Window(self.starts[first:last], self.size)

    def overlaps(self, peak: int, other: Window) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where the windows of one peak meet: as slices of this window and as slices of the other."""
        mine, theirs = [], []
        for start, size, other_start, other_size in zip(
                self.starts[peak], self.size, other.starts[peak], other.size):
            low, high = max(start, other_start), min(start + size, other_start + other_size)
            high = max(low, high)
            mine.append(slice(low - start, high - start))
            theirs.append(slice(low - other_start, high - other_start))
        return tuple(mine), tuple(theirs)

    def contains(self, other: Window) -> bool:
        """Whether every peak's window holds the other one."""
        return all(start <= inner and inner + other.size[axis] <= start + self.size[axis]
                   for mine, theirs in zip(self.starts, other.starts)
                   for axis, (start, inner) in enumerate(zip(mine, theirs)))


def whole(count: int, size: tuple[int, int]) -> Window:
    """The window that is the map itself, for each of ``count`` peaks."""
    return Window(((0, 0),) * count, (size[0], size[1]))


def simplify(window: Window | None, size: tuple[int, int]) -> Window | None:
    """None if the window is the whole map."""
    return None if window is not None and window == whole(len(window.starts), size) else window


def place(grad: Tensor, window: Window, target: Window) -> Tensor:
    """Copy gradients (P, C, h, w) into zeros of another window, cutting what lies outside of it."""
    if window == target:
        return grad
    # torch.zeros takes no memory format, and the next convolution would convert a map of another one
    moved = torch.empty((*grad.shape[:2], *target.size), dtype=grad.dtype, device=grad.device,
                        memory_format=torch.channels_last).zero_()
    for peak in range(len(grad)):
        there, here = target.overlaps(peak, window)
        moved[(peak, ..., *there)] = grad[(peak, ..., *here)]
    return moved


def spread(grad: Tensor, window: Window | None, size: tuple[int, int]) -> Tensor:
    """Gradients on the whole map of the given size, (P, C, H, W)."""
    return grad if window is None else place(grad, window, whole(len(grad), size))


def scale(grad: Tensor, factor: Tensor, image: list[int], window: Window | None, out: Tensor | None) -> Tensor:
    """Multiply each peak's gradient by its image's factor; outside of the map the result is zero.

    Args:
        grad (Tensor): Gradients, has shape (P, C, h, w) or, without a window, any (P, ...).
        factor (Tensor): One factor per image, (I, C, H, W), or per channel (1, C, 1, 1); without a window
            anything that broadcasts to (P, ...).
        image (list[int]): Each peak's row in ``factor``.
        window (Window, optional): Where the gradients lie on the map.
        out (Tensor, optional): Where to write; ``grad`` itself for an update in place.

    Returns:
        Tensor: The product.
    """
    out = torch.empty_like(grad) if out is None else out
    if len(factor) == 1 and (window is None or factor.shape[2:] == (1, 1)):
        return torch.mul(grad, factor, out=out)
    if window is None:
        for first, last, row in runs(image):
            torch.mul(grad[first:last], factor[row:row + 1], out=out[first:last])
        return out
    # Peak by peak, as windows lie at different places: to gather each peak's part of the factor would copy it first.
    outline = whole(len(grad), factor.shape[2:])
    for peak, row in enumerate(image):
        row = row if len(factor) > 1 else 0
        inside, on_map = window.overlaps(peak, outline)
        torch.mul(grad[(peak, ..., *inside)], factor[(row, ..., *on_map)], out=out[(peak, ..., *inside)])
        # what sticks out was padding in the forward pass; left in, the next layer would take it for pixels
        _clear_around(out[peak], inside)
    return out


def add(total: Tensor, total_window: Window | None, grad: Tensor, factor: Tensor | None, image: list[int],
        window: Window | None, size: tuple[int, int]) -> None:
    """Add ``grad * factor`` to ``total`` in place; the window of ``total`` must hold that of ``grad``."""
    if window is None or window == total_window:
        if factor is None:
            total.add_(grad)
            return
        if window is None or factor.shape[2:] == (1, 1):
            for first, last, row in runs(image) if len(factor) > 1 else [(0, len(grad), 0)]:
                total[first:last].addcmul_(grad[first:last], factor[row:row + 1])
            return
    outline = whole(len(grad), size)
    around = outline if total_window is None else total_window
    for peak, row in enumerate(image):
        inside, on_map = window.overlaps(peak, outline)
        moved = Window(((window.starts[peak][0] + inside[0].start, window.starts[peak][1] + inside[1].start),),
                       (inside[0].stop - inside[0].start, inside[1].stop - inside[1].start))
        there, _ = Window((around.starts[peak],), around.size).overlaps(0, moved)
        part = grad[(peak, ..., *inside)]
        if factor is None:
            total[(peak, ..., *there)].add_(part)
        elif factor.shape[2:] == (1, 1):
            total[(peak, ..., *there)].addcmul_(part, factor[row if len(factor) > 1 else 0])
        else:
            total[(peak, ..., *there)].addcmul_(part, factor[(row if len(factor) > 1 else 0, ..., *on_map)])


def runs(image: list[int]) -> list[tuple[int, int, int]]:
    """Consecutive peaks of one image as (first, last + 1, image)."""
    found, first = [], 0
    for row, group in groupby(image):
        last = first + len(list(group))
        found.append((first, last, row))
        first = last
    return found


def _clear_around(grad: Tensor, inside: tuple[slice, ...]) -> None:
    """Set everything but the given rows and columns of (C, h, w) to zero."""
    rows, cols = inside
    grad[:, :rows.start] = 0
    grad[:, rows.stop:] = 0
    grad[:, rows, :cols.start] = 0
    grad[:, rows, cols.stop:] = 0
