import cv2
import numpy as np
import pytest

from mmiam.visualization.sheet import (
    CAPTION_HEIGHT,
    MARGIN,
    draw_sheet,
    fit_tile,
    side_by_side,
    write_sheet,
)

RED = np.full((4, 8, 3), (255, 0, 0), np.uint8)
BLUE = np.full((9, 3, 3), (0, 0, 255), np.uint8)


def test_fit_keeps_the_aspect_and_centers():
    cell = fit_tile(RED, 16)
    assert cell.shape == (16, 16, 3)
    assert (cell[4:12] == (255, 0, 0)).all() and (cell[:4] == 255).all() and (cell[12:] == 255).all()


def test_side_by_side_sizes_and_places():
    row = side_by_side([RED, BLUE], ['a', 'b'], 16)
    assert row.shape == (CAPTION_HEIGHT + 16 + MARGIN, 2 * 16 + 3 * MARGIN, 3)
    assert (row[CAPTION_HEIGHT + 8, MARGIN + 8] == (255, 0, 0)).all()
    assert (row[CAPTION_HEIGHT + 8, 2 * MARGIN + 16 + 8] == (0, 0, 255)).all()
    assert (row[:CAPTION_HEIGHT] < 128).any()
    assert side_by_side([RED], None, 16).shape == (16 + MARGIN, 16 + 2 * MARGIN, 3)
    assert side_by_side([], [], 16).shape == (16 + MARGIN + CAPTION_HEIGHT, MARGIN, 3)


def test_sheet_stacks_rows_and_names_them():
    sheet = draw_sheet([[RED, BLUE], [BLUE, RED]], ['image', 'CAM'], ['x', 'y'], 64)
    one = side_by_side([RED, BLUE], ['image x', 'CAM'], 64)
    assert sheet.shape == (2 * one.shape[0], *one.shape[1:])
    assert np.array_equal(sheet[:one.shape[0]], one)


def test_written_sheet_reads_back(tmp_path):
    path = tmp_path / 'new' / 'sheet.png'
    assert write_sheet([[RED]], ['image'], str(path), ['1'], 32) == path
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], draw_sheet([[RED]], ['image'], ['1'], 32))
    assert [p.name for p in path.parent.iterdir()] == ['sheet.png']


def test_errors(tmp_path):
    with pytest.raises(ValueError, match='row 0 has 1 tiles'):
        draw_sheet([[RED]], ['a', 'b'])
    with pytest.raises(ValueError, match='captions'):
        draw_sheet([[RED]], ['a'], [])
    with pytest.raises(ValueError, match='captions'):
        side_by_side([RED], [])
    with pytest.raises(ValueError, match='tile_size'):
        side_by_side([RED], None, 0)
    with pytest.raises(ValueError, match='png'):
        write_sheet([[RED]], ['a'], tmp_path / 'sheet.jpg')
