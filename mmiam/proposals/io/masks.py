"""Arbitrary overlapping masks as label maps and memberships.

Legend: n masks, H, W image size, K labels (atoms: sets of pixels that lie in the same masks of a level).
"""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..container import SegmentProposals


def refuse_other_size(size: tuple[int, ...], image: tuple[int, int] | None) -> None:
    """Raise a ValueError if a size stated in a file is not that of the image, (H, W), if the latter is known."""
    if image is not None and tuple(size) != tuple(image):
        raise ValueError(f'proposals of {tuple(size)} (H, W), the image is {tuple(image)}'
                         + (': transposed' if tuple(size) == tuple(image)[::-1] else ''))


def proposals_from_masks(masks: Iterable[np.ndarray], size: tuple[int, ...] | None = None,
                         scores: np.ndarray | None = None, origin: str = '') -> SegmentProposals:
    """Build the container from masks, one at a time, so that a generator of masks needs little memory.

    Masks are added to one level, splitting its atoms, until its membership table would outgrow the label map that a new
    level costs. The container reproduces the masks exactly.

    Args:
        masks (iterable): bool (H, W) arrays, in order of rank.
        size (tuple, optional): (H, W); required if there may be no mask.
        scores (ndarray, optional): (n,) floats, higher is better.
        origin (str): where the masks come from.

    Returns:
        SegmentProposals: the same masks in the same order.

    Raises:
        ValueError: if a mask is not (H, W), or if there is none and no ``size``.
    """
    level = None
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for index, mask in enumerate(masks):
        size = tuple(mask.shape) if size is None else tuple(size)
        if mask.shape != size or mask.ndim != 2:
            raise ValueError(f'mask {index} is {mask.shape}, expected {size} (H, W)'
                             + (': transposed' if mask.shape == size[::-1] else ''))
        if level is None or level.is_full():
            if level is not None:
                done.append(level.finish())
            level = _Level(size)
        level.add(mask.astype(bool))
    if size is None:
        raise ValueError('no mask, and no size of the image given')
    if level is None:
        return SegmentProposals.empty(size, origin)
    done.append(level.finish())
    return SegmentProposals([m for m, _ in done], [t for _, t in done], scores, origin)


class _Level:
    """One label map under construction; at first, label 0 covers the whole image."""

    def __init__(self, size: tuple[int, ...]) -> None:
        self.label_map = np.zeros(size, np.int32)
        self.counts = np.array([self.label_map.size])
        self.parents: list[np.ndarray] = []  # for each mask, the labels that it split
        self.rows: list[np.ndarray] = []  # for each mask, its membership over the labels that existed then

    def is_full(self) -> bool:
        """Return whether the table has outgrown a label map of two bytes per pixel, or the labels nearly two bytes."""
        return len(self.rows) * len(self.counts) / 8 > 2 * self.label_map.size or len(self.counts) > 60000

    def add(self, mask: np.ndarray) -> None:
        """Add a mask, splitting the labels that it cuts."""
        covered = self.label_map[mask]
        inside = np.bincount(covered, minlength=len(self.counts))
        cut = np.flatnonzero((inside > 0) & (inside < self.counts))
        renamed = np.arange(len(self.counts))
        renamed[cut] = len(self.counts) + np.arange(len(cut))
        self.label_map[mask] = renamed[covered]
        row = inside == self.counts
        row &= self.counts > 0
        self.counts = np.concatenate([self.counts, inside[cut]])
        self.counts[cut] -= inside[cut]
        self.parents.append(cut)
        self.rows.append(np.concatenate([row, np.ones(len(cut), bool)]))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the label map, and the bool (n, K) table over all labels made so far."""
        table = np.zeros((len(self.rows), len(self.counts)), bool)
        for i, (row, parents) in enumerate(zip(self.rows, self.parents)):
            first = len(row) - len(parents)
            table[:i, first:len(row)] = table[:i, parents]  # a part of a label lies in the masks that the label was in
            table[i, :len(row)] = row
        return self.label_map, table
