"""Pixel features that superpixels and merging are made from.

Legend: H, W image size, C channels.
"""
from __future__ import annotations

import cv2
import numpy as np

_CONVERSIONS = {'lab': cv2.COLOR_RGB2LAB, 'hsv': cv2.COLOR_RGB2HSV_FULL, 'rgb': None}


def convert_color(image: np.ndarray, space: str) -> np.ndarray:
    """Color space of an RGB image: uint8 (H, W, 3), each channel over 0 .. 255; 'lab', 'hsv' or 'rgb'."""
    if space not in _CONVERSIONS:
        raise ValueError(f'color space must be one of {sorted(_CONVERSIONS)}, got {space!r}')
    return image if _CONVERSIONS[space] is None else cv2.cvtColor(image, _CONVERSIONS[space])


def color_bins(image: np.ndarray, bins: int = 25) -> np.ndarray:
    """Histogram bin of each pixel in each channel of a uint8 (H, W, 3) image: int64 (3, H, W), 0 .. bins - 1."""
    return (image.transpose(2, 0, 1).astype(np.int64) * bins) >> 8


def texture_bins(image: np.ndarray, orientations: int = 8, strengths: int = 4) -> np.ndarray:
    """Bin of each pixel's gradient by orientation and, on a logarithmic scale, strength: int64 (C, H, W)."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    result = []
    for channel in range(smooth.shape[2]):
        dx = cv2.Sobel(smooth[..., channel], cv2.CV_32F, 1, 0, scale=0.25)
        dy = cv2.Sobel(smooth[..., channel], cv2.CV_32F, 0, 1, scale=0.25)
        angle = ((np.arctan2(dy, dx) + np.pi) * (orientations / (2 * np.pi))).astype(np.int64) % orientations
        strength = np.clip(np.log2(np.hypot(dx, dy) + 1).astype(np.int64), 0, strengths - 1)
        result.append(angle * strengths + strength)
    return np.stack(result)


def edge_strength(image: np.ndarray) -> np.ndarray:
    """Strength of color edges in [0, 1]: largest channel gradient over two scales, by its share of a soft limit."""
    best = np.zeros(image.shape[:2], np.float32)
    for sigma in (1.0, 2.0):
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
        dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.25)
        dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.25)
        gradient = np.sqrt((dx * dx + dy * dy).sum(2)) * sigma
        best = np.maximum(best, gradient)
    return best / (best + 15.0)
