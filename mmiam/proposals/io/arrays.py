"""Plain .npz files and folders of mask images.

Legend: H, W image size, n proposals.
"""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..container import SegmentProposals
from ..storage import proposals_from_arrays, read_arrays
from .masks import proposals_from_masks

_MASK_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff')


def read_npz(path: str | Path) -> SegmentProposals:
    """Reads the project's own file, or a plain one: ``masks`` (n, H, W), non-zero inside, and perhaps ``scores``.

    Raises:
        ValueError: if the file is broken, holds pickled objects or no ``masks``; file and cause are named.
    """
    arrays = read_arrays(path)
    if 'format' in arrays:
        return proposals_from_arrays(arrays, path)
    if 'masks' not in arrays:
        raise ValueError(f"{path}: no key 'masks'; keys found: {sorted(arrays)}")
    masks, scores = arrays['masks'], arrays.get('scores')
    if masks.ndim != 3:
        raise ValueError(f"{path}: 'masks' must be (n, H, W), got {masks.shape}")
    if scores is not None and scores.shape != (len(masks), ):
        raise ValueError(f"{path}: {len(masks)} masks but 'scores' of shape {scores.shape}")
    if scores is not None:
        ranked = np.argsort(-scores, kind='stable')
        masks, scores = masks[ranked], scores[ranked]
    return proposals_from_masks((m != 0 for m in masks), masks.shape[1:], scores, 'npz masks')


def read_mask_folder(path: str | Path) -> SegmentProposals:
    """Reads a folder of mask images, one proposal a file, non-zero inside; in the order of the numbers in the names.

    Raises:
        ValueError: if there is no mask image, or one is broken or of another size; the file is named.
    """
    from PIL import Image
    files = sorted((f for f in Path(path).iterdir() if f.suffix.lower() in _MASK_SUFFIXES), key=_natural)
    if not files:
        raise ValueError(f'{path}: no mask image ({", ".join(_MASK_SUFFIXES)}) in the folder')
    masks = []
    for file in files:
        try:
            with Image.open(file) as image:
                mask = np.array(image)
        except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
            raise ValueError(f'{file}: truncated, or not an image ({error})') from error
        masks.append(_inside(mask))
        if masks[-1].shape != masks[0].shape:
            raise ValueError(f'{file}: {masks[-1].shape} (H, W), {files[0].name} is {masks[0].shape}'
                             + (': transposed' if masks[-1].shape == masks[0].shape[::-1] else ''))
    return proposals_from_masks(masks, origin='mask images')


def _inside(pixels: np.ndarray) -> np.ndarray:
    """Where a mask image is non-zero; of grey with alpha or colour images, where any colour channel is."""
    if pixels.ndim == 2:
        return pixels != 0
    colour = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    return (colour != 0).any(-1)


def _natural(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path.name)]
