"""Plain .npz files and folders of mask images.

Legend: H, W image size, n proposals.
"""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mmiam.utils.files import naming, read_arrays
from mmiam.utils.images import check_sides, image_size, read_pixels

from ..container import SegmentProposals
from .masks import proposals_from_masks, refuse_other_size

_MASK_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff')


def read_npz(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Read the project's own file, or a plain one with ``masks`` (n, H, W), non-zero inside, and perhaps ``scores``.

    Args:
        path (str | Path): the file.
        size (tuple, optional): (H, W) of the image, which the arrays must have.

    Raises:
        ValueError: if the file is broken, contains pickled objects, or has no ``masks``.
    """
    def check(shapes: dict[str, tuple[int, ...]]) -> None:
        for name, shape in shapes.items():
            if name == 'masks' or name.startswith('label_map'):
                if len(shape) != 2 + (name == 'masks'):
                    raise ValueError(f"'masks' must be (n, H, W) and label maps (H, W), {name!r} is {shape}")
                refuse_other_size(shape[-2:], size)
                check_sides(shape[-2], shape[-1], 'the image')

    arrays = read_arrays(path, check)
    if 'format' in arrays:
        return SegmentProposals.from_arrays(arrays)
    if 'masks' not in arrays:
        raise ValueError(f"no key 'masks'; keys found: {sorted(arrays)}")
    masks, scores = arrays['masks'], arrays.get('scores')
    if scores is not None:
        if scores.shape != (len(masks), ):
            raise ValueError(f"{len(masks)} masks but 'scores' of shape {scores.shape}")
        ranked = np.argsort(-scores, kind='stable')
        masks, scores = masks[ranked], scores[ranked]
    return proposals_from_masks((m != 0 for m in masks), masks.shape[1:], scores, 'npz masks')


def read_mask_folder(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Read a folder of mask images, one proposal per file, non-zero inside, in the order of the numbers in their names.

    Raises:
        ValueError: if there is no mask image, or one is broken or differs in size from the image or the first mask;
            names the file.
    """
    files = sorted((f for f in Path(path).iterdir() if f.suffix.lower() in _MASK_SUFFIXES), key=_natural)
    if not files:
        raise ValueError(f'no mask image ({", ".join(_MASK_SUFFIXES)}) in the folder')
    first = image_size(files[0])
    for file in files:
        with naming(file):
            refuse_other_size(image_size(file), size or first)
    return proposals_from_masks((_inside(read_pixels(file)) for file in files), first, origin='mask images')


def _inside(pixels: np.ndarray) -> np.ndarray:
    """Find where a mask image is non-zero, in any color channel if it has several; alpha does not count."""
    if pixels.ndim == 2:
        return pixels != 0
    color = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    return (color != 0).any(-1)


def _natural(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path.name)]
