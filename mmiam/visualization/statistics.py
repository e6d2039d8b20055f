"""Figures 7 and 8 of the paper as pictures: density over object size, and bars by class.

Legend: S samples, C classes. Pictures are RGB, uint8. Matplotlib is imported inside, and draws without a display.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: colours of the methods in the order given, readable for the colour-blind (Okabe and Ito)
COLORS = ('#E69F00', '#56B4E9', '#009E73', '#CC79A7')


def new_figure(width: float, height: float):
    """A Matplotlib figure of a size in inches on a canvas without display.

    Raises:
        ImportError: with the command that installs Matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('these pictures are drawn by Matplotlib: pip install matplotlib') from error
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def rendered(figure) -> np.ndarray:
    """The pixels of a figure, RGB uint8 (height, width, 3)."""
    figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])


def draw_density(densities: Mapping[str, np.ndarray], numbers: Mapping[str, int]) -> np.ndarray:
    """Fig. 7: a panel a method, object size to the right, IoU upwards, one scale of colours for all.

    Colours follow the square root of the density, so that thin regions are seen.

    Args:
        densities (Mapping[str, ndarray]): name -> (bins, bins), rows IoU, columns size, both from 0 to 1.
        numbers (Mapping[str, int]): name -> S, for the title.

    Returns:
        ndarray: RGB picture.

    Raises:
        ValueError: without any density.
    """
    if not densities:
        raise ValueError('no density to draw')
    figure = new_figure(4. * len(densities) + .6, 3.9)
    panels = figure.subplots(1, len(densities), sharey=True, squeeze=False)[0]
    highest = max(float(np.sqrt(values).max()) for values in densities.values()) or 1.
    for panel, (name, values) in zip(panels, densities.items()):
        shown = panel.imshow(np.sqrt(values), origin='lower', extent=(0, 100, 0, 100), cmap='magma', vmin=0,
                             vmax=highest, aspect='auto', interpolation='nearest')
        panel.set_title(f'{name} ({numbers[name]})')
        panel.set_xlabel('size of the object (% of the image)')
    panels[0].set_ylabel('best IoU (%)')
    figure.colorbar(shown, ax=panels, label='square root of density')
    return rendered(figure)


def draw_class_bars(means: Mapping[str, Sequence[float]], classes: Sequence[str]) -> np.ndarray:
    """Fig. 8: mean IoU by class, a bar a method. Classes without samples in any method are left out.

    Args:
        means (Mapping[str, Sequence[float]]): name -> mean IoU of each class, (C,) in [0, 1] or NaN.
        classes (Sequence[str]): C names.

    Returns:
        ndarray: RGB picture.

    Raises:
        ValueError: without any method, or if a method has another number of classes.
    """
    if not means or any(len(values) != len(classes) for values in means.values()):
        raise ValueError(f'means must hold {len(classes)} values a method, got '
                         f'{ {name: len(values) for name, values in means.items()} }')
    table = 100 * np.array([list(values) for values in means.values()], dtype=np.float64)
    shown = np.flatnonzero(~np.isnan(table).all(0))
    figure = new_figure(max(4., .55 * len(shown) + 1.5), 3.6)
    panel = figure.subplots()
    width = .84 / len(means)
    for row, (name, values) in enumerate(zip(means, table)):
        at = np.arange(len(shown)) + (row - (len(means) - 1) / 2) * width
        heights = np.nan_to_num(values[shown])
        panel.bar(at, heights, width, label=name, color=COLORS[row % len(COLORS)])
        for x, height in zip(at, heights):
            panel.annotate(f'{height:.0f}', (x, height), ha='center', va='bottom', fontsize=6)
    panel.set_xticks(np.arange(len(shown)), [classes[index] for index in shown], rotation=45, ha='right')
    panel.set_ylabel('mean of best IoU (%)')
    panel.set_ylim(0, max(10., float(np.nanmax(table, initial=0.)) * 1.15))
    panel.legend(ncols=len(means), frameon=False)
    return rendered(figure)
