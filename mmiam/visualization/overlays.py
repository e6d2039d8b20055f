"""Pictures of activation maps and instances: pure functions from arrays to RGB images.

Legend: H, W image size; h, w size of a map; n instances. Images are RGB, uint8. Maps and masks may be NumPy arrays or
tensors on any device. Nothing is changed in place.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
COLOR_MAPS = dict(inferno=cv2.COLORMAP_INFERNO, viridis=cv2.COLORMAP_VIRIDIS, magma=cv2.COLORMAP_MAGMA,
                  cividis=cv2.COLORMAP_CIVIDIS)


def to_numpy(array: Any) -> np.ndarray:
    """A tensor (detached, on the CPU) or anything array-like as a NumPy array."""
    if hasattr(array, 'detach'):
        array = array.detach().cpu()
        if str(array.dtype) == 'torch.bfloat16':  # NumPy has no such type
            array = array.float()
    return np.asarray(array)


def check_image(image: Any) -> np.ndarray:
    """An image as a contiguous uint8 array (H, W, 3); grey becomes RGB, an alpha channel is dropped.

    Raises:
        ValueError: if it is empty, or not (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of type uint8.
    """
    image = to_numpy(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f'the image must be uint8 of shape (H, W, 3), not empty; got {image.dtype} of {image.shape}')
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def instance_colors(num: int) -> np.ndarray:
    """``num`` RGB colours, uint8 (num, 3): hues a golden angle apart, so that any first few are far from each other."""
    hues = (np.arange(num) * 0.61803398875) % 1.0
    hsv = np.stack([hues * 180, np.full(num, 200), np.full(num, 250)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] if num else np.zeros((0, 3), np.uint8)


def color_heatmap(heat: Any, limits: tuple[float, float] | None = (0., 1.), color_map: str = 'inferno') -> np.ndarray:
    """A map in colours of a perceptually uniform colour map, by which equal steps look equal.

    Args:
        heat (ndarray | Tensor): (h, w), any numeric type. NaN is drawn as the lower limit.
        limits (tuple, optional): Values of the lowest and the highest colour. None: smallest and largest value
            of the map; a constant map is then the lowest colour. Defaults to (0, 1).
        color_map (str): 'inferno', 'viridis', 'magma' or 'cividis'. Defaults to 'inferno'.

    Returns:
        ndarray: RGB, uint8 (h, w, 3).

    Raises:
        ValueError: if ``heat`` is not a map or the colour map is unknown.
    """
    heat = to_numpy(heat).astype(np.float64)
    if heat.ndim != 2:
        raise ValueError(f'heat must be a map (h, w), got {heat.shape}')
    if color_map not in COLOR_MAPS:
        raise ValueError(f'color_map must be one of {sorted(COLOR_MAPS)}, got {color_map!r}')
    if heat.size == 0:
        return np.zeros((*heat.shape, 3), np.uint8)
    finite = heat[np.isfinite(heat)]
    if limits is None:
        limits = (finite.min(), finite.max()) if len(finite) else (0., 0.)
    low, high = limits
    heat = np.nan_to_num(heat, nan=low, posinf=high, neginf=low)
    share = np.clip((heat - low) / (high - low), 0, 1) if high > low else np.zeros_like(heat)
    colored = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), COLOR_MAPS[color_map])
    return np.ascontiguousarray(colored[..., ::-1])


def overlay_heatmap(image: Any, heat: Any, limits: tuple[float, float] | None = (0., 1.), opacity: float = 0.65,
                    color_map: str = 'inferno') -> np.ndarray:
    """A map over an image. The image is shown in grey, so that every colour is the map's.

    Args:
        image (ndarray): RGB, uint8 (H, W, 3).
        heat (ndarray | Tensor): (h, w) of any size, stretched to the image bilinearly; an empty one is zero.
        limits (tuple, optional): As in :func:`color_heatmap`. Defaults to (0, 1).
        opacity (float): Share of the map's colours, in [0, 1]. Defaults to 0.65.
        color_map (str): As in :func:`color_heatmap`.

    Returns:
        ndarray: RGB, uint8 (H, W, 3).

    Raises:
        ValueError: as :func:`check_image` and :func:`color_heatmap`, or if ``opacity`` is out of range.
    """
    image, heat = check_image(image), to_numpy(heat).astype(np.float32)
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be in [0, 1], got {opacity}')
    height, width = image.shape[:2]
    if heat.ndim == 2:
        heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR) if heat.size \
            else np.zeros((height, width), np.float32)
    colored = color_heatmap(heat, limits, color_map)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.round(opacity * colored + (1 - opacity) * grey).astype(np.uint8)


def overlay_instances(image: Any, masks: Any, names: Sequence[str] | None = None, opacity: float = 0.5,
                      scale: int = 1, colors: Any = None) -> np.ndarray:
    """Instance masks over an image: filled, with contours, and a label at the topmost pixel of each.

    Args:
        image (ndarray): RGB, uint8 (H, W, 3).
        masks (ndarray | Tensor): (n, H, W); non-zero is inside. Later ones lie over earlier ones. An empty mask
            draws nothing.
        names (Sequence[str], optional): n labels. Defaults to None, no labels.
        opacity (float): Share of the fill's colour, in [0, 1]. Defaults to 0.5.
        scale (int): Enlarge the picture so many times before contours and labels are drawn, to keep them fine on
            small images. Defaults to 1.
        colors (ndarray, optional): (n, 3) RGB 0..255. Defaults to :func:`instance_colors`.

    Returns:
        ndarray: RGB, uint8 (scale * H, scale * W, 3).

    Raises:
        ValueError: if shapes or numbers disagree, ``scale`` is below 1 or ``opacity`` out of range.
    """
    image, masks = check_image(image), to_numpy(masks)
    if masks.ndim != 3 or (len(masks) and masks.shape[1:] != image.shape[:2]):
        raise ValueError(f'masks must be (n, {image.shape[0]}, {image.shape[1]}) as the image is, got {masks.shape}')
    if names is not None and len(names) != len(masks):
        raise ValueError(f'{len(masks)} masks but {len(names)} names')
    if scale < 1 or int(scale) != scale:
        raise ValueError(f'scale must be a whole number of at least 1, got {scale}')
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be in [0, 1], got {opacity}')
    colors = instance_colors(len(masks)) if colors is None else np.asarray(colors).reshape(-1, 3)
    if len(colors) != len(masks):
        raise ValueError(f'{len(masks)} masks but {len(colors)} colors')
    canvas = enlarge(image, scale)
    inside = [enlarge((mask != 0).astype(np.uint8), scale, cv2.INTER_NEAREST) for mask in masks]
    for mask, color in zip(inside, colors):
        where = mask > 0
        canvas[where] = np.round(opacity * color + (1 - opacity) * canvas[where]).astype(np.uint8)
    for mask, color in zip(inside, colors):
        contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[-2]
        cv2.drawContours(canvas, contours, -1, tuple(map(int, color)), 1)
    for mask, color, name in zip(inside, colors, names if names is not None else ()):
        rows, columns = np.nonzero(mask)
        if len(rows):
            draw_label(canvas, str(name), (int(columns[0]), int(rows[0])), color)
    return canvas


def enlarge(array: np.ndarray, scale: int, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """A copy of (H, W) or (H, W, 3), ``scale`` times as large."""
    return array.copy() if scale == 1 else cv2.resize(array, None, fx=scale, fy=scale, interpolation=interpolation)


def draw_label(canvas: np.ndarray, text: str, anchor: tuple[int, int], color: Any, size: float = 0.36) -> None:
    """Draw text on a plate of ``color`` above ``anchor`` (x, y), moved to lie inside ``canvas``; in place.

    OpenCV's font has ASCII alone; other characters are drawn as '?'.
    """
    text = text.encode('ascii', 'replace').decode()
    (width, height), base = cv2.getTextSize(text, FONT, size, 1)
    x = max(min(anchor[0], canvas.shape[1] - width - 3), 0)
    y = max(min(anchor[1], canvas.shape[0] - 1), height + base + 2)
    cv2.rectangle(canvas, (x, y - height - base - 2), (x + width + 2, y), tuple(map(int, color)), -1)
    dark = float(np.dot(np.asarray(color, float), (0.299, 0.587, 0.114))) > 128  # luma of ITU-R BT.601
    cv2.putText(canvas, text, (x + 1, y - base), FONT, size, (0, 0, 0) if dark else (255, 255, 255), 1, cv2.LINE_AA)
