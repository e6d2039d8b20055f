import math

import numpy as np
import pytest
import torch

from mmiam.visualization.filling_weights import (
    center_weights,
    draw_field,
    draw_filling_weights,
    mean_direction,
    neighbor_directions,
    vector_field,
)

GREY = np.full((6, 6, 3), 100, np.uint8)


def slow_field(weights):
    """The definition in loops: mean over channels, minus each map's mean, clipped, times the unit direction."""
    channels, positions, height, width = weights.shape
    side = math.isqrt(positions)
    result = np.zeros((positions, height, width, 2))
    for k in range(positions):
        dy, dx = k // side - side // 2, k % side - side // 2
        length = math.hypot(dx, dy)
        mean = [[sum(weights[c, k, y, x] for c in range(channels)) / channels for x in range(width)]
                for y in range(height)]
        average = sum(map(sum, mean)) / (height * width)
        for y in range(height):
            for x in range(width):
                value = max(mean[y][x] - average, 0)
                if length:
                    result[k, y, x] = value * dx / length, value * dy / length
    return result


def test_directions_by_hand():
    d = math.sqrt(0.5)
    expected = [(-d, -d), (0, -1), (d, -d), (-1, 0), (0, 0), (1, 0), (-d, d), (0, 1), (d, d)]
    assert np.allclose(neighbor_directions(3), expected)
    assert neighbor_directions(1).tolist() == [[0, 0]]


def test_field_by_hand():
    weights = np.zeros((2, 9, 1, 2))
    weights[0, 5] = [[0.6, 0.0]]  # channel mean 0.3, 0.0; average 0.15; centred 0.15, -0.15
    weights[:, 0] = [[0.2, 0.8]]  # mean 0.2, 0.8; average 0.5; centred -0.3, 0.3
    weights[:, 4] = [[0.1, 0.9]]  # the pixel itself has no direction
    assert np.allclose(center_weights(weights)[5], [[0.15, -0.15]])
    field = vector_field(weights)
    d = 0.3 * math.sqrt(0.5)
    expected = np.zeros((9, 1, 2, 2))
    expected[5, 0, 0] = 0.15, 0
    expected[0, 0, 1] = -d, -d
    assert np.allclose(field, expected)
    assert np.allclose(mean_direction(field), [[[0.15, 0], [-d, -d]]])
    signed = vector_field(weights, clip=False)
    assert np.allclose(signed[5, 0], [[0.15, 0], [-0.15, 0]])


@pytest.mark.parametrize('side', [1, 3, 5])
def test_field_equals_loops(side):
    weights = torch.rand(3, side * side, 4, 5, dtype=torch.float64)
    assert np.allclose(vector_field(weights), slow_field(weights.numpy()), atol=1e-12)


def test_flat_weights_have_no_arrows():
    weights = np.full((4, 9, 6, 6), 1 / 9)
    assert np.abs(vector_field(weights)).max() < 1e-12
    blank = draw_field(GREY, np.zeros((9, 6, 6, 2)), cell=4)
    assert blank.shape == (24, 24, 3) and (blank == 60).all()


def test_weights_of_the_filling_operator_are_taken():
    from mmiam.ops.extent_filling import normalize_filling_weights
    logits = torch.randn(1, 2 * 9, 5, 5, requires_grad=True)
    picture = draw_filling_weights(GREY, normalize_filling_weights(logits)[0], cell=7)
    assert picture.shape == (35, 35, 3) and (picture != 60).any()


def test_the_arrow_lies_where_it_points():
    field = np.zeros((9, 3, 3, 2))
    field[5, 1, 1] = 1, 0  # from the middle of the middle cell to the right
    cell = 11
    picture = draw_field(GREY, field, cell=cell, reach=1.0, color=(255, 0, 0))
    rows, columns = np.nonzero(picture[..., 0] > 150)
    assert abs(rows - 16).max() <= 1
    assert 15 <= columns.min() <= 17 and 26 <= columns.max() <= 28


def test_short_arrows_are_left_out_and_one_per_pixel():
    field = np.zeros((3, 3, 2))
    field[0, 0], field[2, 2] = (0, 1), (0.01, 0)
    picture = draw_field(GREY, field, cell=8, least=0.05)
    assert (picture[16:, 16:] == 60).all() and (picture[:16, :8] != 60).any()
    summed = draw_filling_weights(GREY, torch.rand(1, 9, 3, 3), cell=8, every_neighbor=False)
    assert summed.shape == (24, 24, 3)


@pytest.mark.parametrize('shape', [(9, 4, 4), (0, 9, 4, 4), (1, 8, 4, 4), (1, 4, 4, 4)])
def test_bad_weights(shape):
    with pytest.raises(ValueError):
        vector_field(np.zeros(shape))


def test_empty_grid():
    assert vector_field(np.zeros((1, 9, 0, 4))).shape == (9, 0, 4, 2)
    with pytest.raises(ValueError, match='not empty'):
        draw_field(GREY, np.zeros((9, 0, 4, 2)))
    with pytest.raises(ValueError, match='cell'):
        draw_field(GREY, np.zeros((9, 4, 4, 2)), cell=0)
