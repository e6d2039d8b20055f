"""Figures 5, 7 and 8 of the paper as RGB pictures, uint8, for ``analyze_extent.py``.

Legend: C channels, r side of the window, K = r * r its positions, row-major, H, W the grid of filling.
"""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

#: colors of the methods in the order given, readable for the color-blind (Okabe and Ito)
COLORS = ('#E69F00', '#56B4E9', '#009E73', '#CC79A7')


def vector_field(weights: np.ndarray) -> np.ndarray:
    """One vector for each location and neighbor: normalized filling weights (C, K, H, W) -> (K, H, W, 2), y down.

    "We compute the mean of W across channels and subtract the average from each map to suppress the 'flat' regions"
    (Sec. 3.2). The angle is the neighbor's direction, the length its value; the location itself has none. Values below
    the average are drawn as 0, our choice: an arrow turned round would stand for another neighbor.
    """
    maps = np.asarray(weights, np.float64).mean(0)
    reach = round(len(maps)**.5) // 2
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1].reshape(2, -1).astype(float)
    directions = np.stack([x, y], 1) / np.maximum(np.hypot(x, y), 1e-12)[:, None]
    values = np.maximum(maps - maps.mean((1, 2), keepdims=True), 0)
    return values[..., None] * directions[:, None, None]


def draw_field(image: np.ndarray, weights: np.ndarray, cell: int = 15) -> np.ndarray:
    """Fig. 5: the filling weights (C, K, H, W) as arrows, RGB uint8 (rows * cell, columns * cell, 3).

    The rim of the grid is left out: a location there has fewer neighbors, whose normalized weights are larger for that
    reason alone; drawn to one scale they leave nothing to see of the others. For the same reason the longest hundredth
    is shortened, and what is shorter than a twentieth of the longest is left out. Our choices.

    Args:
        image (ndarray): RGB, uint8, of any size; stretched under the grid and darkened.
        weights (ndarray): normalized filling weights; a grid that is nothing but rim is drawn whole.
        cell (int): side of a cell of the grid in picture pixels.
    """
    rows, columns = weights.shape[-2:]
    border = round(weights.shape[1]**.5) // 2
    if border and min(rows, columns) > 2 * border:
        weights = weights[..., border:-border, border:-border]
        top, left = round(border * image.shape[0] / rows), round(border * image.shape[1] / columns)
        image = image[top:max(image.shape[0] - top, top + 1), left:max(image.shape[1] - left, left + 1)]
    field = vector_field(weights)
    canvas = cv2.resize(image, (field.shape[2] * cell, field.shape[1] * cell), interpolation=cv2.INTER_AREA)
    canvas = (canvas * .6).astype(np.uint8)
    length = np.linalg.norm(field, axis=-1)
    if length.max() <= 1e-12:
        return canvas
    longest = np.quantile(length[length > 0], .99)
    field *= np.minimum(1, longest / np.maximum(length, 1e-12))[..., None] * (.9 * cell / longest)
    k, y, x = np.nonzero(length >= .05 * longest)
    start = (np.stack([x, y], 1) + .5) * cell - .5
    shift = 4  # OpenCV's fixed point: sixteenths of a pixel
    for a, b in np.round(np.stack([start, start + field[k, y, x]], 1) * 2**shift).astype(int).tolist():
        cv2.line(canvas, a, b, (255, 220, 40), 1, cv2.LINE_AA, shift)
        cv2.circle(canvas, b, 2**shift * max(cell // 9, 1) // 2, (255, 220, 40), -1, cv2.LINE_AA, shift)
    return canvas


def rendered(figure: Figure) -> np.ndarray:
    """The picture of a figure, without a display."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def density(samples: np.ndarray) -> np.ndarray:
    """Density of samples, (S, 3) with IoU and size first, over both (Fig. 7): rows are IoU, columns size; mean 1, or 0.

    A histogram of 50 x 50 cells smoothed by a Gaussian of 1.5 cells; mass that it would carry over the border is
    reflected, so that none is lost where samples gather, at size 0 and IoU 0. All of this is our choice; the paper does
    not say how it estimates the density.
    """
    counts = np.histogram2d(samples[:, 0], samples[:, 1], bins=50, range=((0, 1), (0, 1)))[0]
    counts = gaussian_filter(counts, 1.5, mode='reflect')
    return counts / counts.mean() if counts.any() else counts


def draw_density(samples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fig. 7: a panel a method, object size to the right, IoU upwards, one scale of colors for all.

    Colors follow the square root of the density, so that thin regions are seen.

    Args:
        samples (Mapping[str, ndarray]): name -> (S, 3), each best IoU, size and class of a true instance.
    """
    roots = {name: np.sqrt(density(one)) for name, one in samples.items()}
    figure = Figure(figsize=(4. * len(roots) + .6, 3.9), dpi=120, layout='constrained')
    panels = figure.subplots(1, len(roots), sharey=True, squeeze=False)[0]
    highest = max(float(values.max()) for values in roots.values()) or 1.
    for panel, (name, values) in zip(panels, roots.items()):
        shown = panel.imshow(values, origin='lower', extent=(0, 100, 0, 100), cmap='magma', vmin=0, vmax=highest,
                             aspect='auto', interpolation='nearest')
        panel.set_title(f'{name} ({len(samples[name])})')
        panel.set_xlabel('size of the object (% of the image)')
    panels[0].set_ylabel('best IoU (%)')
    figure.colorbar(shown, ax=panels, label='square root of density')
    return rendered(figure)


def draw_class_bars(means: Mapping[str, Mapping[str, float | None]]) -> np.ndarray:
    """Fig. 8: mean IoU by method and class, in [0, 1], a bar a method. Classes without samples (None) are left out."""
    table = 100 * np.array([list(values.values()) for values in means.values()], dtype=np.float64)
    classes, shown = list(next(iter(means.values()))), np.flatnonzero(~np.isnan(table).all(0))
    figure = Figure(figsize=(max(4., .55 * len(shown) + 1.5), 3.6), dpi=120, layout='constrained')
    panel, width = figure.subplots(), .84 / len(means)
    for row, (name, values) in enumerate(zip(means, table)):
        at = np.arange(len(shown)) + (row - (len(means) - 1) / 2) * width
        bars = panel.bar(at, np.nan_to_num(values[shown]), width, label=name, color=COLORS[row % len(COLORS)])
        panel.bar_label(bars, fmt='%.0f', fontsize=6)
    panel.set_xticks(np.arange(len(shown)), [classes[index] for index in shown], rotation=45, ha='right')
    panel.set_ylabel('mean of best IoU (%)')
    panel.set_ylim(0, max(10., float(np.nanmax(table, initial=0.)) * 1.15))
    panel.legend(ncols=len(means), frameon=False)
    return rendered(figure)
