"""Mask files of salient object detection: black and white pictures of the size of their image.

H x W are the original image's pixels.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmiam.utils.images import read_gray

#: a pixel is foreground above this gray level, as in the field's standard toolbox
FOREGROUND_ABOVE = 128


def load_saliency_mask(path: str, size: Sequence[int] | None = None) -> np.ndarray:
    """Foreground of a mask file: gray level above 128 of 255.

    Color and palette pictures become gray first; an alpha channel is dropped.

    Args:
        path (str): The mask file, of any format that Pillow reads.
        size (Sequence[int], optional): (H, W) of the image, which the mask must have.

    Returns:
        ndarray: bool (H, W).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, of another size, of more than 8 bits a channel, or not empty and yet nowhere
            above 128 (as masks of the values 0 and 1 are).
    """
    gray = read_gray(path)
    if size is not None and gray.shape != tuple(size[:2]):
        raise ValueError(f'mask {path} has {gray.shape} pixels, its image {tuple(size[:2])}; take mask and image from '
                         'the same release')
    mask = gray > FOREGROUND_ABOVE
    if gray.any() and not mask.any():
        raise ValueError(f'mask {path} has no value above {FOREGROUND_ABOVE} (its largest is {gray.max()}); foreground '
                         'must be white: save it with the values 0 and 255')
    return mask
