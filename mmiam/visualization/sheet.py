"""Sheets of pictures: tiles side by side with captions, one row per image.

Legend: R rows, K columns. Tiles are RGB, uint8, of any size; each is fitted into a square cell without distortion.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmiam.utils.images import write_picture

from .overlays import FONT, check_image

PAPER, INK = 255, (40, 40, 40)
CAPTION_HEIGHT, MARGIN = 18, 4


def fit_tile(tile: Any, size: int) -> np.ndarray:
    """Fit a tile, centered and with its aspect ratio kept, into a white square, uint8 (size, size, 3)."""
    tile = check_image(tile)
    height, width = tile.shape[:2]
    ratio = size / max(height, width)
    new = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    cell = np.full((size, size, 3), PAPER, np.uint8)
    top, left = (size - new[1]) // 2, (size - new[0]) // 2
    cell[top:top + new[1], left:left + new[0]] = cv2.resize(tile, new, interpolation=method)
    return cell


def write_caption(width: int, text: str) -> np.ndarray:
    """Draw centered text, shortened to fit, on a white strip (CAPTION_HEIGHT, width, 3); non-ASCII becomes '?'."""
    strip = np.full((CAPTION_HEIGHT, width, 3), PAPER, np.uint8)
    text = str(text).encode('ascii', 'replace').decode()
    while len(text) > 1 and cv2.getTextSize(text, FONT, 0.4, 1)[0][0] > width - 2:
        text = text[:-3] + '.' if len(text) > 3 else text[:-1]
    left = max((width - cv2.getTextSize(text, FONT, 0.4, 1)[0][0]) // 2, 0)
    cv2.putText(strip, text, (left, CAPTION_HEIGHT - 5), FONT, 0.4, INK, 1, cv2.LINE_AA)
    return strip


def side_by_side(tiles: Sequence[Any], captions: Sequence[str], tile_size: int = 192) -> np.ndarray:
    """Draw tiles in a row, each under its caption.

    Args:
        tiles (Sequence[ndarray]): K images, RGB uint8.
        captions (Sequence[str]): K captions.
        tile_size (int): Side of a cell in pixels. Defaults to 192.

    Returns:
        ndarray: uint8 (h, w, 3) with w = K * tile_size + (K + 1) * MARGIN and h = CAPTION_HEIGHT + tile_size + MARGIN.

    Raises:
        ValueError: if the numbers of tiles and captions differ or ``tile_size`` is below 1.
    """
    if len(captions) != len(tiles):
        raise ValueError(f'{len(tiles)} tiles but {len(captions)} captions')
    if tile_size < 1:
        raise ValueError(f'tile_size must be at least 1, got {tile_size}')
    gap = np.full((CAPTION_HEIGHT + tile_size + MARGIN, MARGIN, 3), PAPER, np.uint8)
    below = np.full((MARGIN, tile_size, 3), PAPER, np.uint8)
    parts = [gap]
    for tile, caption in zip(tiles, captions):
        parts += [np.concatenate([write_caption(tile_size, caption), fit_tile(tile, tile_size), below]), gap]
    return np.concatenate(parts, axis=1)


def draw_sheet(rows: Sequence[Sequence[Any]], columns: Sequence[str], captions: Sequence[str]) -> np.ndarray:
    """Draw a sheet with one row per image and the column's name above every tile.

    Args:
        rows (Sequence[Sequence[ndarray]]): R rows of K tiles, RGB uint8 of any size.
        columns (Sequence[str]): K names, at least one, e.g. image, CAM, PRM, IAM, masks, ground truth.
        captions (Sequence[str]): R names, each written after the first column's name in its row.

    Returns:
        ndarray: RGB, uint8. Without rows, it shows only the names of the columns.

    Raises:
        ValueError: if a row does not have K tiles, or there are not R captions.
    """
    if len(captions) != len(rows):
        raise ValueError(f'{len(rows)} rows but {len(captions)} captions')
    for index, tiles in enumerate(rows):
        if len(tiles) != len(columns):
            raise ValueError(f'row {index} has {len(tiles)} tiles, there are {len(columns)} columns')
    blank = np.full((1, 1, 3), PAPER, np.uint8)
    heading = side_by_side([blank] * len(columns), columns)[:0 if rows else CAPTION_HEIGHT]
    return np.concatenate([heading] + [side_by_side(tiles, [f'{columns[0]} {caption}', *columns[1:]])
                                       for tiles, caption in zip(rows, captions)])


def write_sheet(rows: Sequence[Sequence[Any]], columns: Sequence[str], path: str | Path,
                captions: Sequence[str]) -> None:
    """Draw a sheet (:func:`draw_sheet`) and write it as PNG; missing folders are created.

    Raises:
        ValueError: see :func:`draw_sheet`; also if ``path`` does not end in .png.
    """
    if not str(path).lower().endswith('.png'):
        raise ValueError(f'{path}: a sheet is written as .png')
    write_picture(path, draw_sheet(rows, columns, captions))
