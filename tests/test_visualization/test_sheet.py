import cv2
import numpy as np
import pytest

from mmiam.visualization.sheet import CAPTION_HEIGHT, MARGIN, draw_sheet, side_by_side, write_sheet

RED = np.full((4, 8, 3), (255, 0, 0), np.uint8)
BLUE = np.full((9, 3, 3), (0, 0, 255), np.uint8)


def test_sizes_and_places():
    """Tiles keep their aspect, are centered in their cells and lie below their captions."""
    row = side_by_side([RED, BLUE], ['a', 'b'], 16)
    assert row.shape == (CAPTION_HEIGHT + 16 + MARGIN, 2 * 16 + 3 * MARGIN, 3)
    cell = row[CAPTION_HEIGHT:CAPTION_HEIGHT + 16, MARGIN:MARGIN + 16]
    assert (cell[4:12] == (255, 0, 0)).all() and (cell[:4] == 255).all() and (cell[12:] == 255).all()
    assert (row[CAPTION_HEIGHT + 8, 2 * MARGIN + 16 + 8] == (0, 0, 255)).all()
    assert (row[:CAPTION_HEIGHT] < 128).any()


def test_a_sheet_stacks_rows_names_them_and_reads_back(tmp_path):
    path, columns = tmp_path / 'new' / 'sheet.png', ['image', 'CAM']
    write_sheet([[RED, BLUE], [BLUE, RED]], columns, path, ['x', 'y'])
    sheet = cv2.imread(str(path))[..., ::-1]
    rows = side_by_side([RED, BLUE], ['image x', 'CAM']), side_by_side([BLUE, RED], ['image y', 'CAM'])
    assert np.array_equal(sheet, np.concatenate(rows)) and [p.name for p in path.parent.iterdir()] == ['sheet.png']
    cut = side_by_side([RED], ['a caption that is longer than its tile'], 64)
    assert cut.shape == (CAPTION_HEIGHT + 64 + MARGIN, 64 + 2 * MARGIN, 3)
    heading = draw_sheet([], columns, [])
    assert heading.shape == (CAPTION_HEIGHT, rows[0].shape[1], 3) and (heading < 128).any()


@pytest.mark.parametrize('call, message', [
    (lambda path: write_sheet([[RED]], ['a', 'b'], path, ['x']), 'row 0 has 1 tiles'),
    (lambda path: write_sheet([[RED]], ['a'], path, []), '1 rows but 0 captions'),
    (lambda path: write_sheet([[RED]], ['a'], f'{path}.jpg', ['x']), 'written as .png'),
    (lambda path: side_by_side([RED], []), '1 tiles but 0 captions'),
    (lambda path: side_by_side([RED], ['a'], 0), 'tile_size must')])
def test_errors(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / 'a.png')
