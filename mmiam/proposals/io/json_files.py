"""JSON files: the runs of the PRM demo, COCO RLE, and the automatic masks of Segment Anything.

Legend: H, W image size, n proposals.

* PRM demo: a list of ``{"data": base64, "shape": [H, W]}``; the data are pairs (start, length) of runs in **row-major**
  order, as uint32, where starts count from 1.
* COCO RLE: a list of ``{"size": [H, W], "counts": text or list}``, **column-major**; or a list of objects that have
  such an RLE under ``segmentation``, and perhaps a ``score``.
* Segment Anything, as in SA-1B: ``{"image": {"height", "width", ...}, "annotations": [{"segmentation": RLE,
  "predicted_iou", "stability_score", ...}]}``; also the list that its automatic mask generator returns with
  ``output_mode='coco_rle'``.
"""
from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mmiam.utils.files import read_json
from mmiam.utils.images import check_sides
from mmiam.utils.rle import check_runs, run_lengths

from ..container import SegmentProposals
from .masks import proposals_from_masks, refuse_other_size

_CHECKED_MASKS = 20


def read_json_proposals(path: str | Path, size: tuple[int, int] | None = None) -> SegmentProposals:
    """Read a JSON file in any of the three layouts.

    Args:
        path (str | Path): the file.
        size (tuple, optional): (H, W) of the image, which the masks must have; only needed if the file has no mask.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if the file is broken, mixes layouts, or has none of them.
    """
    entries, size = _entries(read_json(path), size)
    if not entries:
        return proposals_from_masks([], size, origin='json')
    is_prm, scores = 'data' in entries[0], _scores(entries)
    expand, order = (_prm_bits, 'C') if is_prm else (_coco_bits, 'F')
    shape = _sides(entries[0]['shape'] if is_prm else _rle(entries[0], 0)['size'], size)
    ranked = np.arange(len(entries)) if scores is None else np.argsort(-scores, kind='stable')
    _check_order((expand(entries[i], shape, i) for i in ranked[:_CHECKED_MASKS]), shape, order)
    origin = 'prm json' if is_prm else 'segment anything' if 'predicted_iou' in entries[0] else 'coco rle'
    masks = (expand(entries[i], shape, i).reshape(shape, order=order) for i in ranked)  # expanded one at a time
    return proposals_from_masks(masks, shape, None if scores is None else scores[ranked], origin)


def _entries(content, size: tuple[int, int] | None) -> tuple[list[dict], tuple[int, int] | None]:
    """Return the list of proposals, and (H, W) of the image as stated in the file, or else as given."""
    entries = content
    if isinstance(content, dict):
        if 'annotations' not in content:
            raise ValueError(f"an object without 'annotations'; its keys are {sorted(content)[:8]}")
        entries = content['annotations']
        if 'image' in content:
            size = _sides([content['image']['height'], content['image']['width']], size)
    if not isinstance(entries, list):
        raise ValueError(f'expected a list of proposals, found {type(entries).__name__}')
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('every proposal must be an object')
    images = {entry.get('image_id') for entry in entries}
    if len(images) > 1:
        raise ValueError(f'holds proposals of {len(images)} images; one file an image is needed')
    return entries, size


def _sides(value, image: tuple[int, int] | None) -> tuple[int, int]:
    """Check (H, W) as stated in a file, before anything of that size is allocated."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(v, int) and v > 0 for v in value):
        raise ValueError(f'the size must be two positive whole numbers [H, W], found {str(value)[:60]}')
    refuse_other_size(tuple(value), image)
    return check_sides(value[0], value[1], 'the image')


def _prm_bits(entry: dict, shape: tuple[int, int], index: int) -> np.ndarray:
    """Expand one entry of the PRM demo to a flat row-major mask."""
    if tuple(entry['shape']) != shape:
        raise ValueError(f'proposal {index} is of shape {entry["shape"]}, the first one of {list(shape)}')
    try:
        data = base64.b64decode(entry['data'], validate=True)
    except binascii.Error as error:
        raise ValueError(f'proposal {index}: bad base64 ({error})') from error
    if len(data) % 8:
        raise ValueError(f'proposal {index}: {len(data)} bytes are no whole number of (start, length) pairs: '
                         'truncated')
    runs = np.frombuffer(data, '<u4').reshape(-1, 2).astype(np.int64)
    total = shape[0] * shape[1]
    if len(runs) and (runs[:, 0].min() < 1 or (runs.sum(1) - 1).max() > total):
        raise ValueError(f'proposal {index}: runs leave the image of shape {entry["shape"]} (starts count from 1)')
    runs = runs[np.argsort(runs[:, 0], kind='stable')]
    ends = np.maximum.accumulate(runs.sum(1) - 1)
    starts = np.maximum(runs[:, 0] - 1, np.r_[0, ends[:-1]])  # runs may overlap, but no pixel is written twice
    bits = np.zeros(total, bool)
    for start, end in zip(starts.tolist(), ends.tolist()):
        bits[start:end] = True
    return bits


def _rle(entry: dict, index: int) -> dict:
    rle = entry.get('segmentation', entry)
    if not isinstance(rle, dict) or 'counts' not in rle or 'size' not in rle:
        raise ValueError(f"proposal {index} is no RLE (an object with 'size' and 'counts'); polygons are not read, "
                         f'found {type(rle).__name__} with {sorted(rle)[:6] if isinstance(rle, dict) else "no keys"}')
    return rle


def _coco_bits(entry: dict, shape: tuple[int, int], index: int) -> np.ndarray:
    """Expand a COCO RLE to a flat column-major mask, after checking its length."""
    rle = _rle(entry, index)
    if tuple(rle['size']) != shape:
        raise ValueError(f'proposal {index} is of size {rle["size"]}, the first one of {list(shape)}')
    counts = rle['counts']
    try:
        check_runs(np.array(counts, np.int64) if isinstance(counts, list) else run_lengths(counts), shape)
    except ValueError as error:
        raise ValueError(f'proposal {index}: {error}') from None
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects(rle, *shape)['counts']
    return coco_mask.decode(dict(size=list(shape), counts=counts)).ravel(order='F').astype(bool)


def _scores(entries: list[dict]) -> np.ndarray | None:
    """Return predicted IoU times stability for Segment Anything (our choice), or else ``score``, or else None."""
    if all('predicted_iou' in e for e in entries):
        return np.array([e['predicted_iou'] * e.get('stability_score', 1.) for e in entries], np.float64)
    if all('score' in e for e in entries):
        return np.array([e['score'] for e in entries], np.float64)
    return None


def _check_order(bits: Iterable[np.ndarray], shape: tuple[int, int], order: str) -> None:
    """Refuse masks that were written in the other order: read in the wrong one, they fall apart into stripes."""
    other = 'F' if order == 'C' else 'C'
    here = there = 0
    for flat in bits:
        here += _outline(flat.reshape(shape, order=order))
        there += _outline(flat.reshape(shape, order=other))
    if here > 2 * there:
        names = {'C': 'row-major', 'F': 'column-major'}
        raise ValueError(f'the runs are {names[other]}, but this format is {names[order]}: the masks are transposed')


def _outline(mask: np.ndarray) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())
