"""Filling weights as a field of arrows, Fig. 5 of the paper.

Legend: C channels, r side of the window, K = r * r its positions, row-major, N or H, W the side of the grid of filling.

"The eight adjacent neighbors of a pixel are visualized in the form of vector fields, where the angle represents the
corresponding neighbors and length represents the value. We compute the mean of W across channels and subtract the
average from each map to suppress the 'flat' regions that connected with all neighbors." (Sec. 3.2)
"""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .overlays import check_image, to_numpy


def center_weights(weights: Any) -> np.ndarray:
    """Mean across channels, and of each of the K maps its average over the grid subtracted.

    Args:
        weights (ndarray | Tensor): Normalised filling weights (C, K, H, W), C at least 1.

    Returns:
        ndarray: float64 (K, H, W); each map has mean 0.

    Raises:
        ValueError: if the shape is another, or K is not the square of an odd number.
    """
    weights = to_numpy(weights).astype(np.float64)
    if weights.ndim != 4 or not weights.shape[0]:
        raise ValueError(f'weights must be (C, r*r, H, W) with C at least 1, got {weights.shape}')
    window_side(weights.shape[1])
    maps = weights.mean(0)
    return maps - maps.mean((1, 2), keepdims=True) if maps.size else maps


def window_side(num_positions: int) -> int:
    """r from r * r; ValueError unless r is odd."""
    side = round(num_positions ** 0.5)
    if side * side != num_positions or side % 2 == 0:
        raise ValueError(f'a window has r*r positions with odd r, got {num_positions}')
    return side


def neighbor_directions(kernel_size: int) -> np.ndarray:
    """Unit vectors (K, 2) as (x, y), y down, from the centre of the window to each position; the centre itself is 0."""
    reach = kernel_size // 2
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1].reshape(2, -1).astype(np.float64)
    length = np.hypot(x, y)
    return np.stack([x, y], 1) / np.where(length > 0, length, 1)[:, None]


def vector_field(weights: Any, clip: bool = True) -> np.ndarray:
    """One vector for each pixel and neighbour.

    Args:
        weights (ndarray | Tensor): Normalised filling weights (C, K, H, W).
        clip (bool): Draw values below the average as 0: a length cannot be negative, and an arrow turned round would
            stand for another neighbour. Our choice, the paper does not say. Defaults to True.

    Returns:
        ndarray: float64 (K, H, W, 2), vectors (x, y), y down: the angle is the neighbour's direction, the length its
        value. Position K // 2, the pixel itself, has no direction and is 0.

    Raises:
        ValueError: as :func:`center_weights`.
    """
    values = center_weights(weights)
    if clip:
        values = np.maximum(values, 0)
    directions = neighbor_directions(window_side(len(values)))
    return values[..., None] * directions[:, None, None, :]


def mean_direction(field: np.ndarray) -> np.ndarray:
    """Sum of the vectors of a pixel, (H, W, 2) of (K, H, W, 2): where its filling comes from on the whole."""
    return to_numpy(field).sum(0)


def draw_field(image: Any, field: Any, cell: int = 9, reach: float = 0.9, least: float = 0.05,
               color: tuple[int, int, int] = (255, 220, 40)) -> np.ndarray:
    """Draw a field as arrows over an image.

    Args:
        image (ndarray): RGB, uint8, of any size; stretched under the grid and darkened.
        field (ndarray): (K, H, W, 2), or (H, W, 2) for one arrow a pixel.
        cell (int): Side in picture pixels of a pixel of the grid. Defaults to 9.
        reach (float): Length of the longest arrow, in cells. Defaults to 0.9.
        least (float): Arrows shorter than this share of the longest are left out. Defaults to 0.05.
        color (tuple): RGB of the arrows.

    Returns:
        ndarray: RGB, uint8 (H * cell, W * cell, 3). A field of zeros draws no arrow.

    Raises:
        ValueError: if shapes are wrong, the grid is empty or ``cell`` is below 1.
    """
    image, field = check_image(image), to_numpy(field).astype(np.float64)
    if field.ndim == 3:
        field = field[None]
    if field.ndim != 4 or field.shape[3] != 2 or 0 in field.shape[1:3]:
        raise ValueError(f'field must be (K, H, W, 2) or (H, W, 2), not empty; got {field.shape}')
    if cell < 1:
        raise ValueError(f'cell must be at least 1, got {cell}')
    height, width = field.shape[1:3]
    method = cv2.INTER_AREA if image.shape[1] > width * cell else cv2.INTER_LINEAR
    canvas = cv2.resize(image, (width * cell, height * cell), interpolation=method)
    canvas = (canvas * 0.6).astype(np.uint8)
    length = np.hypot(field[..., 0], field[..., 1])
    longest = length.max(initial=0.)
    if longest <= 0:
        return canvas
    shift = 4  # OpenCV's fixed point: sixteenths of a pixel
    k, y, x = np.nonzero(length >= max(least * longest, 1e-12))
    start = (np.stack([x, y], 1) + 0.5) * cell - 0.5
    end = start + field[k, y, x] * (reach * cell / longest)
    points = np.round(np.stack([start, end], 1) * 2 ** shift).astype(int).tolist()
    for a, b in points:  # OpenCV draws one line a call; 100 000 take about half a second
        cv2.line(canvas, a, b, color, 1, cv2.LINE_AA, shift)
        cv2.circle(canvas, b, 2 ** shift * max(cell // 9, 1) // 2, color, -1, cv2.LINE_AA, shift)
    return canvas


def draw_filling_weights(image: Any, weights: Any, cell: int = 9, every_neighbor: bool = True,
                         **kwargs: Any) -> np.ndarray:
    """Fig. 5 for one image.

    Args:
        image (ndarray): RGB, uint8 (h, w, 3), of any size.
        weights (ndarray | Tensor): Normalised filling weights (C, K, H, W) of this image.
        cell (int): Side in picture pixels of a pixel of the grid. Defaults to 9.
        every_neighbor (bool): An arrow for each neighbour, as in the paper; otherwise their sum, which is easier to
            read on a large grid. Defaults to True.
        **kwargs: Passed to :func:`draw_field`.

    Returns:
        ndarray: RGB, uint8 (H * cell, W * cell, 3).
    """
    field = vector_field(weights)
    return draw_field(image, field if every_neighbor else mean_direction(field), cell, **kwargs)
