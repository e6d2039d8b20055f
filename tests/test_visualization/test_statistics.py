import sys

import numpy as np
import pytest

from mmiam.visualization.statistics import COLORS, draw_class_bars, draw_density


def pixels_of(picture, color):
    """Pixels of a colour given as #RRGGBB."""
    wanted = np.array([int(color[i:i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(picture.astype(int) - wanted) <= 2).all(-1)


def test_bars_are_as_high_as_their_values():
    picture = draw_class_bars({'PRM': [.2, float('nan'), .4], 'IAM': [.4, float('nan'), .8]}, ('cat', 'dog', 'cow'))
    assert picture.dtype == np.uint8 and picture.ndim == 3
    areas = []
    for color in COLORS[:2]:
        bars = pixels_of(picture, color)
        bars[:bars.shape[0] // 6] = False  # the legend
        columns = bars.sum(0)
        left, right = columns[:bars.shape[1] // 2 + 20].max(), columns[bars.shape[1] // 2 + 20:].max()
        assert right / left == pytest.approx(2, rel=.1)
        areas.append(left)
    assert areas[1] / areas[0] == pytest.approx(2, rel=.1)


def test_classes_without_samples_are_left_out():
    few = draw_class_bars({'IAM': [float('nan')] * 18 + [.5, .5]}, [f'class {i}' for i in range(20)])
    many = draw_class_bars({'IAM': [.5] * 20}, [f'class {i}' for i in range(20)])
    assert many.shape[1] > 2 * few.shape[1]
    draw_class_bars({'IAM': [float('nan')]}, ['cat'])  # nothing at all


def test_density_is_drawn_with_iou_upwards():
    values = np.zeros((10, 10))
    values[9, 0] = 100.  # IoU high, size small
    picture = draw_density({'PRM': values, 'IAM': np.zeros((10, 10))}, {'PRM': 3, 'IAM': 0})
    y, x = np.nonzero(pixels_of(picture[:, :picture.shape[1] // 2], '#FCFDBF'))  # the brightest of the colours
    assert len(y) > 100 and y.mean() < picture.shape[0] / 3 and x.mean() < picture.shape[1] / 6


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='no density'):
        draw_density({}, {})
    with pytest.raises(ValueError, match='must hold 2 values a method'):
        draw_class_bars({'IAM': [.5]}, ('cat', 'dog'))
    draw_density({'IAM': np.zeros((5, 5))}, {'IAM': 0})


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(ImportError, match='pip install matplotlib'):
        draw_density({'IAM': np.zeros((5, 5))}, {'IAM': 0})
