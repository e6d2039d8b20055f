"""COCO run-length encodings (RLEs) of binary masks, by pycocotools.

Legend: n masks of H x W pixels. An RLE is ``{'size': [H, W], 'counts': str}`` (column-major, compressed),
the form used by mmdet's CocoMetric and in json files.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from .images import to_numpy


def encode_masks(masks) -> list[dict]:
    """Encode boolean masks.

    Args:
        masks (Tensor | ndarray): Binary masks, has shape (n, H, W); non-zero is foreground.

    Returns:
        list[dict]: n RLEs whose ``counts`` are str, so that json can hold them.

    Raises:
        ValueError: if ``masks`` does not have three axes, or its masks have no pixels.
    """
    masks = to_numpy(masks)
    if masks.ndim != 3:
        raise ValueError(f'masks must have shape (n, H, W), got {masks.shape}')
    number, height, width = masks.shape
    if number == 0:
        return []
    if height == 0 or width == 0:
        raise ValueError(f'masks of {height} x {width} pixels cannot be encoded')
    masks = masks if masks.dtype == bool else masks != 0
    return [_encode(mask, columns) for mask, columns in zip(masks, masks.any(axis=1))]


def _encode(mask: np.ndarray, columns: np.ndarray) -> dict:
    """Encode one mask, bool (H, W), given the columns that hold foreground, bool (W,).

    The result has the same bytes as that of ``pycocotools.mask.encode``, which needs all masks copied to column-major
    order and visits every pixel; that takes longer than the rest of an evaluation.
    """
    height, width = mask.shape
    used = np.flatnonzero(columns)
    changes = used
    if len(used):
        part = mask[:, used[0]:used[-1] + 1]
        pixels = np.zeros(part.size + 2, dtype=bool)
        pixels[1:-1].reshape(part.shape[::-1])[...] = part.T
        changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + used[0] * height
    runs = np.diff(changes, prepend=0, append=height * width).tolist()
    if len(runs) > 1 and runs[-1] == 0:
        runs.pop()
    return text_rle(coco_mask.frPyObjects(dict(size=[height, width], counts=runs), height, width))


def decode_masks(rles: list[dict], size: tuple[int, int]) -> np.ndarray:
    """Decode RLEs to booleans of shape (n, H, W); ``size`` = (H, W) gives the shape when n is 0."""
    if not rles:
        return np.zeros((0, *size), dtype=bool)
    return np.ascontiguousarray(coco_mask.decode([byte_rle(r) for r in rles]).transpose(2, 0, 1)).astype(bool)


def text_rle(rle: Mapping) -> dict:
    """Convert an RLE to plain ints and ``str`` counts, as json needs them."""
    counts = rle['counts']
    return dict(size=[int(s) for s in rle['size']],
                counts=counts.decode('ascii') if isinstance(counts, bytes) else counts)


def byte_rle(rle: dict) -> dict:
    """Convert an RLE to ``bytes`` counts, as pycocotools prefers them."""
    counts = rle['counts']
    return dict(size=rle['size'], counts=counts.encode('ascii') if isinstance(counts, str) else counts)


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Decode compressed ``counts`` into the lengths of their runs, background first, int64.

    pycocotools trusts ``counts``, but those of a file cannot be trusted. The text holds 5 bits per character, and
    from the fourth run on it stores the difference to the run before last.

    Raises:
        ValueError: if the text is not valid.
    """
    runs, value, shift = [], 0, 0
    for code in counts.encode() if isinstance(counts, str) else counts:
        code -= 48
        if not 0 <= code < 64:
            raise ValueError('a character in its counts is none of COCO RLE')
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError('its counts end within a number: truncated')
    return np.array(runs, np.int64)


def check_runs(runs: np.ndarray, size: Sequence[int]) -> None:
    """Raise a ValueError unless the runs cover an image of ``size`` (H, W) exactly."""
    whole = size[0] * size[1]
    if ((runs < 0) | (runs > whole)).any() or runs.sum() != whole:  # a sum alone could wrap around
        raise ValueError(f'runs of {sum(map(int, runs))} pixels in all, the image has {whole}: truncated')


def check_rle(rle: object, size: Sequence[int], what: str) -> None:
    """Raise a ValueError that begins with ``what`` unless ``rle``, read from a file, fits an image of ``size``."""
    if not isinstance(rle, Mapping) or rle.get('size') != list(size) or not isinstance(rle.get('counts'), str):
        raise ValueError(f'{what} is no RLE of {list(size)} pixels')
    try:
        check_runs(run_lengths(rle['counts']), size)
    except ValueError as error:
        raise ValueError(f'{what}: {error}') from None


def rle_areas(rles: list[dict]) -> np.ndarray:
    """Count the foreground pixels of each RLE, float64 (n,)."""
    if not rles:
        return np.zeros(0)
    return np.asarray(coco_mask.area([byte_rle(r) for r in rles]), dtype=np.float64)


def rle_box(rle: dict) -> list[float]:
    """Compute the tight box of a non-empty RLE, (x1, y1, x2, y2) in pixels, x2 and y2 exclusive."""
    x, y, width, height = coco_mask.toBbox(byte_rle(rle)).tolist()
    return [x, y, x + width, y + height]


def rle_iou(first: list[dict], second: list[dict]) -> np.ndarray:
    """Compute the intersection over union of every pair, float64 (len(first), len(second)) in [0, 1].

    Two empty masks have IoU 0.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    iou = coco_mask.iou([byte_rle(r) for r in first], [byte_rle(r) for r in second], [0] * len(second))
    return np.nan_to_num(np.asarray(iou, dtype=np.float64))


def remove_region(rles: list[dict], region: dict | None) -> list[dict]:
    """Remove the pixels of ``region`` from each mask (None: nothing is removed)."""
    if region is None or not rles:
        return rles
    inside = coco_mask.decode(byte_rle(region))
    if not inside.any():
        return rles
    outside = coco_mask.encode(np.asfortranarray(1 - inside))
    return [text_rle(coco_mask.merge([byte_rle(rle), outside], intersect=True)) for rle in rles]
