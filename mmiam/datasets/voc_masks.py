"""Instance masks in VOC's form: a pair of indexed PNG files an image.

``SegmentationClass`` holds class indices (1..C; 0 background), ``SegmentationObject`` object indices
(1..254; 0 background); 255 is void (object borders, ambiguous pixels) in both. H x W are the original
image's pixels; boxes are xyxy with exclusive right and lower edges, as mmdet takes them from masks.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmiam.utils.rle import encode_masks

VOID = 255


def read_index_mask(path: str) -> np.ndarray:
    """The indices of a palette or grey PNG.

    Args:
        path (str): The mask file.

    Returns:
        ndarray: uint8 of shape (H, W).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds colours and not indices.
    """
    from PIL import Image
    try:
        with Image.open(path) as image:
            mode = image.mode
            indices = np.array(image).astype(np.uint8) if mode in ('P', 'L', '1') else None
    except FileNotFoundError:
        raise FileNotFoundError(
            f'mask {path} does not exist; restore it, or remove its id from the image list') from None
    except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
        raise ValueError(f'mask {path} is damaged ({error}); restore it') from error
    if indices is None:
        raise ValueError(f'mask {path} holds colours (mode {mode}), not indices; save it as a palette PNG (mode P)')
    return indices


def voc_instances(semantic: np.ndarray, objects: np.ndarray,
                  labels: Mapping[int, int]) -> tuple[list[dict], dict | None]:
    """Instances and void of one image.

    The class of an object is that of most of its pixels. An object of a class that is not evaluated is
    left out: it is background, not void.

    Args:
        semantic (ndarray): Class indices, uint8 (H, W).
        objects (ndarray): Object indices, uint8 (H, W).
        labels (Mapping[int, int]): Class index in the PNG -> label of the data set.

    Returns:
        tuple[list[dict], dict | None]: Instances (``bbox`` list xyxy, ``bbox_label`` int, ``mask`` RLE,
        ``ignore_flag`` 0), ordered by object index, and the RLE of the void pixels, None if there are none.

    Raises:
        ValueError: if the two masks differ in size, or an object lies on background or void alone.
    """
    if semantic.shape != objects.shape:
        raise ValueError(f'the class mask has {semantic.shape} pixels, the object mask {objects.shape}')
    void = (semantic == VOID) | (objects == VOID)
    kept, kept_labels = [], []
    for index in np.unique(objects):
        if index in (0, VOID):
            continue
        mask = (objects == index) & ~void
        counts = np.bincount(semantic[mask], minlength=1)
        counts[0] = 0
        if not counts.any():
            raise ValueError(f'object {index} has no class: the class mask is background or void on all its '
                             'pixels')
        value = int(counts.argmax())
        if value in labels:
            kept.append(mask)
            kept_labels.append(labels[value])
    rles = encode_masks(np.stack(kept)) if kept else []
    instances = [dict(bbox=mask_box(mask), bbox_label=label, mask=rle, ignore_flag=0)
                 for mask, label, rle in zip(kept, kept_labels, rles)]
    return instances, encode_masks(void[None])[0] if void.any() else None


def load_voc_instances(semantic_path: str, instance_path: str, labels: Mapping[int, int],
                       size: Sequence[int] | None = None) -> tuple[list[dict], dict | None]:
    """Instances and void of one image from its two mask files.

    Args:
        semantic_path (str): File of ``SegmentationClass``.
        instance_path (str): File of ``SegmentationObject``.
        labels (Mapping[int, int]): Class index in the PNG -> label of the data set.
        size (Sequence[int], optional): (H, W) of the image, which the masks must have.

    Returns:
        tuple[list[dict], dict | None]: As of :func:`voc_instances`.

    Raises:
        FileNotFoundError, ValueError: naming the file at fault.
    """
    paths = (semantic_path, instance_path)
    masks = [read_index_mask(path) for path in paths]
    for path, mask in zip(paths, masks):
        if size is not None and mask.shape != tuple(size[:2]):
            raise ValueError(f'mask {path} has {mask.shape} pixels, its image {tuple(size[:2])}; take mask '
                             'and image from the same release')
    try:
        return voc_instances(*masks, labels)
    except ValueError as error:
        raise ValueError(f'{instance_path} (with {semantic_path}): {error}') from error


def mask_box(mask: np.ndarray) -> list[float]:
    """Tight box of a non-empty boolean mask (H, W): [x1, y1, x2, y2], x2 and y2 exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
