"""Pictures of activation maps and instances: pure functions from arrays to RGB images.

Legend: H, W image size; h, w size of a map; n instances. Images are RGB, uint8. Maps and masks may be NumPy arrays or
tensors on any device. Nothing is changed in place.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmiam.utils.images import to_numpy

FONT = cv2.FONT_HERSHEY_SIMPLEX
HEAT_OPACITY, FILL_OPACITY = 0.65, 0.45  # of a map and of an instance over the image


def check_image(image: Any) -> np.ndarray:
    """Check an image and return it as a contiguous array.

    Raises:
        ValueError: if it is empty, or not uint8 (H, W, 3).
    """
    image = to_numpy(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f'the image must be uint8 of shape (H, W, 3), not empty; got {image.dtype} of {image.shape}')
    return np.ascontiguousarray(image)


def instance_colors(num: int) -> np.ndarray:
    """Make ``num`` RGB colors, uint8 (num, 3), with hues a golden angle apart, so that the first few differ clearly."""
    hues = (np.arange(num) * 0.61803398875) % 1.0
    hsv = np.stack([hues * 180, np.full(num, 200), np.full(num, 250)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] if num else np.zeros((0, 3), np.uint8)


def color_heatmap(heat: Any) -> np.ndarray:
    """Color a map with 'inferno', which is perceptually uniform: equal steps look equal.

    Args:
        heat (ndarray | Tensor): (h, w), values in [0, 1] (others are clipped); NaN is drawn as 0.

    Returns:
        ndarray: RGB, uint8 (h, w, 3).

    Raises:
        ValueError: if ``heat`` is not a map, or empty.
    """
    heat = to_numpy(heat).astype(np.float64)
    if heat.ndim != 2 or not heat.size:
        raise ValueError(f'heat must be a map (h, w), got {heat.shape}')
    levels = np.round(np.clip(np.nan_to_num(heat, posinf=1, neginf=0), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1])


def overlay_heatmap(image: Any, heat: Any) -> np.ndarray:
    """Draw a map over an image. The image is shown in gray, so that all color comes from the map.

    Args:
        image (ndarray): RGB, uint8 (H, W, 3).
        heat (ndarray | Tensor): (h, w) of any size, values in [0, 1], resized to the image bilinearly; an empty map
            counts as zero everywhere.

    Returns:
        ndarray: RGB, uint8 (H, W, 3).

    Raises:
        ValueError: see :func:`check_image` and :func:`color_heatmap`.
    """
    image, heat = check_image(image), to_numpy(heat).astype(np.float32)
    height, width = image.shape[:2]
    if heat.ndim == 2:
        heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR) if heat.size \
            else np.zeros((height, width), np.float32)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.round(HEAT_OPACITY * color_heatmap(heat) + (1 - HEAT_OPACITY) * gray).astype(np.uint8)


def overlay_instances(image: Any, masks: Any, names: Sequence[str] | None = None, label_size: float = 0.36
                      ) -> np.ndarray:
    """Draw instance masks over an image, filled and with contours, each with a label at its topmost pixel.

    Args:
        image (ndarray): RGB, uint8 (H, W, 3).
        masks (ndarray | Tensor): (n, H, W); non-zero is inside. Later masks cover earlier ones. Nothing is drawn for
            an empty mask.
        names (Sequence[str], optional): n labels. Defaults to None, no labels.
        label_size (float): scale of the labels' font, which is 20 pixels high at scale 1.

    Returns:
        ndarray: RGB, uint8 (H, W, 3).

    Raises:
        ValueError: if shapes or the numbers of masks and names disagree.
    """
    image, masks = check_image(image), to_numpy(masks)
    if masks.ndim != 3 or (len(masks) and masks.shape[1:] != image.shape[:2]):
        raise ValueError(f'masks must be (n, {image.shape[0]}, {image.shape[1]}) as the image is, got {masks.shape}')
    if names is not None and len(names) != len(masks):
        raise ValueError(f'{len(masks)} masks but {len(names)} names')
    canvas, colors = image.copy(), instance_colors(len(masks))
    for mask, color in zip(masks != 0, colors):
        canvas[mask] = np.round(FILL_OPACITY * color + (1 - FILL_OPACITY) * canvas[mask]).astype(np.uint8)
    for mask, color in zip(masks != 0, colors):  # drawn over all fills
        contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[-2]
        cv2.drawContours(canvas, contours, -1, tuple(map(int, color)), 1)
    for mask, color, name in zip(masks, colors, names if names is not None else ()):
        rows, columns = np.nonzero(mask)
        if len(rows):
            draw_label(canvas, str(name), (int(columns[0]), int(rows[0])), color, label_size)
    return canvas


def draw_label(canvas: np.ndarray, text: str, anchor: tuple[int, int], color: Any, size: float = 0.36) -> None:
    """Draw text in place on a plate of ``color`` above ``anchor`` (x, y), moved so that it lies inside ``canvas``.

    OpenCV's font has only ASCII; other characters are drawn as '?'.
    """
    text = text.encode('ascii', 'replace').decode()
    thickness = max(1, round(1.5 * size))
    (width, height), base = cv2.getTextSize(text, FONT, size, thickness)
    x = max(min(anchor[0], canvas.shape[1] - width - 3), 0)
    y = max(min(anchor[1], canvas.shape[0] - 1), height + base + 2)
    cv2.rectangle(canvas, (x, y - height - base - 2), (x + width + 2, y), tuple(map(int, color)), -1)
    dark = float(np.dot(np.asarray(color, float), (0.299, 0.587, 0.114))) > 128  # luma of ITU-R BT.601
    cv2.putText(canvas, text, (x + 1, y - base), FONT, size, (0, 0, 0) if dark else (255, 255, 255), thickness,
                cv2.LINE_AA)
