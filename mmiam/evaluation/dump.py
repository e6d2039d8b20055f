"""Records of predictions and ground truth as json: written safely, with a checksum, and read back without a model."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from mmiam.utils.checked_json import read_checked_json, write_checked_json
from mmiam.utils.files import is_count, is_number, naming
from mmiam.utils.images import check_sides
from mmiam.utils.rle import check_rle

FORMAT = 'mmiam-instances-1'


def save_dump(path: str, records: Sequence[Mapping], classes: Sequence[str], pred_field: str) -> None:
    """Write records (see :mod:`mmiam.evaluation.functional.records`).

    Args:
        path (str): The json file; its folder is created.
        records (Sequence[Mapping]): Records of all images.
        classes (Sequence[str]): Class names; the label of a class is its position.
        pred_field (str): Field of the data samples that held these predictions.
    """
    write_checked_json(path, dict(format=FORMAT, pred_field=pred_field, classes=list(classes), images=list(records)))


def load_dump(path: str) -> dict:
    """Read a file written by :func:`save_dump`.

    Returns:
        dict: ``classes`` (list of str), ``pred_field`` and ``images`` (the records).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not such a dump.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} does not exist; write it with VOCInstanceMetric(dump=…)')
    try:
        content = read_checked_json(path)
        if content.get('format') != FORMAT:
            raise ValueError(f"{path} is not a dump of VOCInstanceMetric (key 'format' must be {FORMAT!r})")
        images, classes = content.get('images'), content.get('classes')
        if not isinstance(images, list) or not all(isinstance(record, dict) for record in images):
            raise ValueError(f"{path}: 'images' must be a list of records")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"{path}: 'classes' must be a list of names")
        for position, record in enumerate(images):
            with naming(path, f'image {position}: '):
                _check_record(record, len(classes))
    except ValueError as error:
        raise ValueError(f'{error}; dump the predictions again') from None
    return content


def _check_record(record: Mapping, num_classes: int) -> None:
    """Raise a ValueError that says which part of a record is invalid; the RLE code of the evaluation trusts sizes."""
    size = check_sides(record['height'], record['width'], 'the image')
    if not isinstance(record['img_id'], (str, int)):
        raise ValueError('img_id is neither text nor number')
    tags = record['image_labels']
    if tags is not None and not (isinstance(tags, list) and all(is_count(tag) and tag < num_classes for tag in tags)):
        raise ValueError(f'image_labels must be numbers below {num_classes}')
    if record['void_mask'] is not None:
        check_rle(record['void_mask'], size, 'void_mask')
    _check_part(record['ground_truth'], 'ground_truth', 'ignore_flags', size, num_classes)
    if record['predictions'] is not None:
        _check_part(record['predictions'], 'predictions', 'scores', size, num_classes)


def _check_part(part, name: str, extra: str, size: tuple[int, int], num_classes: int) -> None:
    """Raise a ValueError unless ``part`` holds the expected lists, of equal length and with valid entries."""
    keys = ('labels', 'masks', 'bboxes', extra)
    if not isinstance(part, dict) or not all(isinstance(part.get(key), list) for key in keys):
        raise ValueError(f'{name} must have the lists {", ".join(keys)}')
    if len({len(part[key]) for key in keys}) > 1:
        raise ValueError(f'the lists of {name} are of different lengths')
    if not all(is_count(label) and label < num_classes for label in part['labels']):
        raise ValueError(f'labels of {name} must be numbers below {num_classes}')
    if not all(map(is_number, part[extra])):
        raise ValueError(f'{extra} of {name} must be finite numbers')
    if not all(isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) for box in part['bboxes']):
        raise ValueError(f'bboxes of {name} must be four finite numbers each')
    for index, counts in enumerate(part['masks']):
        check_rle(dict(size=list(size), counts=counts), size, f'mask {index} of {name}')
