"""The distinct sets of labels that occur in the windows of a label map.

Legend: H, W image size, K labels, T distinct sets, r side of the window.

A pixel lies on the morphological gradient (dilation minus erosion, r x r, pixels outside the image ignored) of a union
S of superpixels if and only if its window contains both labels inside S and labels outside S. This depends on the pixel
only through the *set* of labels in its window, and an image has few distinct sets. Grouping pixels by their sets makes
contour matching fast without approximation.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WindowSets:
    """Pixels of one label map, grouped by the set of labels in their window.

    Attributes:
        pixels (ndarray): (m,) flat indices of the pixels whose window contains two labels or more. No others can lie on
            a contour.
        set_ids (ndarray): (m,) set of each of these pixels, 0 .. T - 1.
        tables (tuple): label sets as arrays (T_i, s_i) with increasing s_i, in the order of the ids, where T is the sum
            of all T_i. A set with fewer than s_i labels repeats one of them.
    """
    pixels: np.ndarray
    set_ids: np.ndarray
    tables: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return sum(len(t) for t in self.tables)


def group_by_window_set(label_map: np.ndarray, window: int = 5) -> WindowSets:
    """Group the pixels of a label map by the set of labels in the window around them.

    Args:
        label_map (ndarray): integer labels from 0, shape (H, W).
        window (int): odd side r of the window, by default 5.

    Returns:
        WindowSets: the grouping.

    Raises:
        ValueError: if ``window`` is not a positive odd number.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f'window must be odd and positive, got {window}')
    radius = window // 2
    height, width = label_map.shape
    # Repeating the edge pixel outside the image adds no label to a window, which contains the edge pixel itself.
    padded = np.pad(label_map, radius, mode='edge')
    low = _separable(np.minimum, padded, window)
    high = _separable(np.maximum, padded, window)
    two = np.ones((height, width), bool)
    for dy in range(window):
        for dx in range(window):
            shifted = padded[dy:dy + height, dx:dx + width]
            two &= (shifted == low) | (shifted == high)
    mixed = low != high
    pairs, many = np.flatnonzero(mixed & two), np.flatnonzero(mixed & ~two)
    pair_table, pair_ids = _unique_rows(np.stack([low.ravel()[pairs], high.ravel()[pairs]], 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (window, window))
    many_table, many_ids = _unique_rows(_distinct_labels(windows[many // width, many % width].reshape(-1, window**2)))
    return WindowSets(np.concatenate([pairs, many]).astype(np.int32),  # small, since they are sent between processes
                      np.concatenate([pair_ids, many_ids + len(pair_table)]).astype(np.int32),
                      (pair_table, many_table))


def _separable(function: np.ufunc, padded: np.ndarray, window: int) -> np.ndarray:
    """Compute the minimum or maximum over the r x r window around each pixel of the unpadded map."""
    height, width = (s - window + 1 for s in padded.shape)
    rows = padded[:height].copy()
    for dy in range(1, window):
        function(rows, padded[dy:dy + height], out=rows)
    result = rows[:, :width].copy()
    for dx in range(1, window):
        function(result, rows[:, dx:dx + width], out=result)
    return result


def _distinct_labels(windows: np.ndarray) -> np.ndarray:
    """List the labels in each window, (m, r * r), once and ascending; short rows repeat their largest: (m, s)."""
    rows = np.sort(windows, axis=1)
    repeated = rows[:, 1:] == rows[:, :-1]
    most = windows.shape[1] - int(repeated.sum(1).min(initial=windows.shape[1] - 1))
    rows[:, 1:] = np.where(repeated, rows[:, -1:], rows[:, 1:])
    rows.sort(axis=1)
    return rows[:, :most]


def _unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct rows, and the index of each row among them.

    In each step, as many columns as fit are packed into a 63-bit key, together with the index found so far.
    """
    if not rows.shape[1]:
        return rows[:0], np.zeros(len(rows), np.int64)
    bits = int(rows.max(initial=0)).bit_length()
    ids, first = np.zeros(len(rows), np.int64), np.zeros(0, np.int64)
    column = 0
    while column < rows.shape[1]:
        key, used = ids, int(ids.max(initial=0)).bit_length()
        while column < rows.shape[1] and used + bits <= 63:
            key = (key << bits) | rows[:, column]
            used += bits
            column += 1
        _, first, ids = np.unique(key, return_index=True, return_inverse=True)
    return rows[first], ids.reshape(-1)
