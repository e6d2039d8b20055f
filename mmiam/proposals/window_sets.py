"""The distinct sets of labels that occur in the windows of a label map.

Legend: H, W image size, K labels, T distinct sets, r the window's side.

A pixel lies on the morphological gradient (dilation minus erosion, r x r, out-of-image pixels ignored) of a union
of superpixels S exactly if its window holds both labels inside S and labels outside S. That depends on the pixel
only through the *set* of labels in its window, and an image has few distinct sets: grouping pixels by them is
what makes contour matching fast without being an approximation.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WindowSets:
    """Pixels of one label map, grouped by the set of labels in their window.

    Attributes:
        pixels (ndarray): (m,) flat indices of the pixels whose window holds two labels or more. All others can
            never lie on a contour.
        set_ids (ndarray): (m,) set of each of these pixels, 0 .. T - 1.
        tables (tuple): label sets as arrays (T_i, s_i) of increasing s_i, T = sum of T_i in the order of the ids.
            A set with fewer than s_i labels repeats one of them.
    """
    pixels: np.ndarray
    set_ids: np.ndarray
    tables: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return sum(len(t) for t in self.tables)


def group_by_window_set(label_map: np.ndarray, window: int = 5) -> WindowSets:
    """Groups the pixels of a label map by the set of labels in the window around them.

    Args:
        label_map (ndarray): Integer labels from 0, shape (H, W).
        window (int): Odd side r of the window. Defaults to 5.

    Returns:
        WindowSets: the grouping.

    Raises:
        ValueError: if ``window`` is not a positive odd number.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f'window must be odd and positive, got {window}')
    radius = window // 2
    height, width = label_map.shape
    # The edge pixel repeated outside the image adds no label to a window that holds the edge pixel itself.
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
    return WindowSets(np.concatenate([pairs, many]).astype(np.int32),  # they travel between processes
                      np.concatenate([pair_ids, many_ids + len(pair_table)]).astype(np.int32),
                      (pair_table, many_table))


def _separable(function: np.ufunc, padded: np.ndarray, window: int) -> np.ndarray:
    """Minimum or maximum over the r x r window around each pixel of the unpadded map."""
    height, width = (s - window + 1 for s in padded.shape)
    rows = padded[:height].copy()
    for dy in range(1, window):
        function(rows, padded[dy:dy + height], out=rows)
    result = rows[:, :width].copy()
    for dx in range(1, window):
        function(result, rows[:, dx:dx + width], out=result)
    return result


def _distinct_labels(windows: np.ndarray) -> np.ndarray:
    """Labels of each window (m, r * r), each once, ascending; short rows repeat their largest: (m, s)."""
    rows = np.sort(windows, axis=1)
    repeated = rows[:, 1:] == rows[:, :-1]
    most = windows.shape[1] - int(repeated.sum(1).min(initial=windows.shape[1] - 1))
    rows[:, 1:] = np.where(repeated, rows[:, -1:], rows[:, 1:])
    rows.sort(axis=1)
    return rows[:, :most]


def _unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows, and for each row its index among them.

    As many columns as fit are packed into one 63-bit key at a time, next to the index found so far.
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
