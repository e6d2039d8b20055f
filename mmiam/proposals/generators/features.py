"""Pixel features from which superpixels are made and merged.

Legend: H, W image size, C channels.
"""
from __future__ import annotations

import cv2
import numpy as np

_CONVERSIONS = {'lab': cv2.COLOR_RGB2LAB, 'hsv': cv2.COLOR_RGB2HSV_FULL, 'rgb': None}


def convert_color(image: np.ndarray, space: str) -> np.ndarray:
    """Convert an RGB image to 'lab', 'hsv' or 'rgb': uint8 (H, W, 3), each channel over 0 .. 255."""
    if space not in _CONVERSIONS:
        raise ValueError(f'color space must be one of {sorted(_CONVERSIONS)}, got {space!r}')
    return image if _CONVERSIONS[space] is None else cv2.cvtColor(image, _CONVERSIONS[space])


def color_bins(image: np.ndarray, bins: int = 25) -> np.ndarray:
    """Find the histogram bin of each pixel in each channel: uint8 (H, W, 3) -> int64 (3, H, W), 0 .. bins - 1."""
    return (image.transpose(2, 0, 1).astype(np.int64) * bins) >> 8


def texture_bins(image: np.ndarray, orientations: int = 8, strengths: int = 4) -> np.ndarray:
    """Find the bin of each pixel's gradient, by orientation and by strength (on a log scale): int64 (C, H, W)."""
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
    """Compute the strength of color edges: (H, W), in [0, 1).

    The gradient g, over all channels, is the larger one of two scales (each times its sigma), squashed to g / (g + 15).
    """
    best = np.zeros(image.shape[:2], np.float32)
    for sigma in (1.0, 2.0):
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
        dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.25)
        dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.25)
        gradient = np.sqrt((dx * dx + dy * dy).sum(2)) * sigma
        best = np.maximum(best, gradient)
    return best / (best + 15.0)
