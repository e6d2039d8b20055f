"""Mask files: VOC's pairs of indexed pictures, and the black-and-white ones of salient object detection.

``SegmentationClass`` contains class indices (1..C; 0 background), ``SegmentationObject`` object indices (1..254; 0
background); 255 is void (object borders, ambiguous pixels) in both. 16-bit PNG files can hold more than 254 objects:
there, void is 65535, and in class masks also 255. H x W are the pixels of the original image; boxes are xyxy with
exclusive right and lower edges, as mmdet takes them from masks.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from mmiam.utils.images import read_gray, read_indices
from mmiam.utils.rle import encode_masks, rle_box

VOID = 255
#: a pixel of a saliency mask is foreground above this gray level, as in the field's standard toolbox
FOREGROUND_ABOVE = 128


def voc_instances(semantic: np.ndarray, objects: np.ndarray,
                  labels: Mapping[int, int]) -> tuple[list[dict], dict | None]:
    """Extract the instances and the void pixels of one image.

    The class of an object is that of most of its pixels. An object of a class that is not evaluated is left out: it
    counts as background, not as void.

    Args:
        semantic (ndarray): class indices, uint8 or uint16 (H, W).
        objects (ndarray): object indices, uint8 or uint16 (H, W).
        labels (Mapping[int, int]): class index in the PNG -> label of the data set.

    Returns:
        tuple[list[dict], dict | None]: instances (``bbox`` list xyxy, ``bbox_label`` int, ``mask`` RLE,
        ``ignore_flag`` 0), ordered by object index, and the RLE of the void pixels, or None if there are none.

    Raises:
        ValueError: if the two masks differ in size, or an object lies only on background or void.
    """
    if semantic.shape != objects.shape:
        raise ValueError(f'the class mask has {semantic.shape} pixels, the object mask {objects.shape}')
    last = np.iinfo(objects.dtype).max
    void = (objects == last) | (semantic == VOID) | (semantic == np.iinfo(semantic.dtype).max)
    instances = []
    # by windows, because a 16-bit mask can hold thousands of objects
    for index, window in enumerate(ndimage.find_objects(objects.astype(np.int32)), 1):
        if window is None or index == last:
            continue
        inside = (objects[window] == index) & ~void[window]
        counts = np.bincount(semantic[window][inside], minlength=1)
        counts[0] = 0
        if not counts.any():
            raise ValueError(f'object {index} has no class: the class mask is background or void on all its '
                             'pixels')
        value = int(counts.argmax())
        if value in labels:
            mask = np.zeros(objects.shape, bool)
            mask[window] = inside
            rle, = encode_masks(mask[None])
            instances.append(dict(bbox=rle_box(rle), bbox_label=labels[value], mask=rle, ignore_flag=0))
    return instances, encode_masks(void[None])[0] if void.any() else None


def load_voc_instances(semantic_path: str, instance_path: str, labels: Mapping[int, int],
                       size: Sequence[int] | None = None, num_classes: int | None = None
                       ) -> tuple[list[dict], dict | None]:
    """Load the instances and the void pixels of one image from its two mask files.

    Args:
        semantic_path (str): file in ``SegmentationClass``.
        instance_path (str): file in ``SegmentationObject``.
        labels (Mapping[int, int]): class index in the PNG -> label of the data set.
        size (Sequence[int], optional): (H, W) of the image, which the masks must have.
        num_classes (int, optional): largest class index that has a name; larger ones are refused.

    Returns:
        tuple[list[dict], dict | None]: see :func:`voc_instances`.

    Raises:
        FileNotFoundError, ValueError: if a file is missing, damaged or inconsistent; names the file.
    """
    paths = (semantic_path, instance_path)
    masks = [read_indices(path) for path in paths]
    for path, mask in zip(paths, masks):
        _refuse_other_size(path, mask, size)
    known = masks[0][(masks[0] != VOID) & (masks[0] != np.iinfo(masks[0].dtype).max)]
    if num_classes is not None and known.max(initial=0) > num_classes:
        raise ValueError(f'{semantic_path} holds class index {known.max()}, and {num_classes} classes are named; name '
                         "the classes of all indices as mask_classes, in their order ('voc' for VOC's own files)")
    try:
        return voc_instances(masks[0], masks[1], labels)
    except ValueError as error:
        raise ValueError(f'{instance_path} (with {semantic_path}): {error}') from error


def load_saliency_mask(path: str, size: Sequence[int] | None = None) -> np.ndarray:
    """Load the foreground of a mask file: gray levels above 128, out of 255.

    Color and palette pictures are converted to gray first; an alpha channel is dropped.

    Args:
        path (str): mask file, in any format that Pillow reads.
        size (Sequence[int], optional): (H, W) of the image, which the mask must have.

    Returns:
        ndarray: bool (H, W).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, has another size or more than 8 bits per channel, or is not all 0 and yet
            nowhere above 128 (like a mask of the values 0 and 1).
    """
    gray = read_gray(path)
    _refuse_other_size(path, gray, size)
    mask = gray > FOREGROUND_ABOVE
    if gray.any() and not mask.any():
        raise ValueError(f'mask {path} has no value above {FOREGROUND_ABOVE} (its largest is {gray.max()}); foreground '
                         'must be white: save it with the values 0 and 255')
    return mask


def _refuse_other_size(path: str, mask: np.ndarray, size: Sequence[int] | None) -> None:
    if size is not None and mask.shape != tuple(size[:2]):
        raise ValueError(f'mask {path} has {mask.shape} pixels, its image {tuple(size[:2])}; take mask and image from '
                         'the same release')
