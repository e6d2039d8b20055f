"""Class predictions of another network, read from a file.

A csv file has two columns, image and class; an optional header names the columns ``image`` and ``class`` (others are
ignored). A json file holds one object ``{image: class}``, or a list of ``{"image": ..., "class": ...}``; there, a list
of scores, one per class, may take the place of the class and stands for the class with the highest score.

An image is identified by its id in the data set, by its file name, or by the last folder and the file name of its path,
the latter two with or without suffix. A class is given by its name (with or without a leading ``001.``) or its number.
"""
from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence

from mmiam.utils.files import is_number, read_json, read_text

_NUMBERED, _NUMBER = re.compile(r'\d+\.'), re.compile(r'[+-]?\d+')


def load_class_predictions(path: str, classes: Sequence[str], first_label: int = 0) -> dict[str, int]:
    """Read class predictions into a dict of image name -> label.

    Args:
        path (str): The file, ``*.csv`` or ``*.json``.
        classes (Sequence[str]): Class names in the order of labels.
        first_label (int): Number of the first class, if the file gives classes as numbers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, the faulty entry and what is expected.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no file of class predictions {path}')
    if not path.endswith(('.csv', '.json')):
        raise ValueError(f'{path}: class predictions are a file *.csv or *.json')
    try:
        pairs = _csv_pairs(path) if path.endswith('.csv') else _json_pairs(path)
    except (OSError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise ValueError(f'{path} cannot be read ({error}); write it again') from None
    names = {_NUMBERED.sub('', name, count=1): label for label, name in enumerate(classes)}
    names.update({name: label for label, name in enumerate(classes)})
    labels: dict[str, int] = {}
    for position, (image, value) in enumerate(pairs, 1):
        try:
            label = _label(value, names, len(classes), first_label)
        except ValueError as error:
            raise ValueError(f'{path}, entry {position} (image {image!r}): {error}') from None
        if labels.setdefault(image, label) != label:
            raise ValueError(f'{path}, entry {position}: image {image!r} has two classes')
    if not labels:
        raise ValueError(f'{path} holds no prediction')
    return labels


def find_prediction(labels: dict[str, int], img_id: str, img_path: str = '') -> int | None:
    """Find the label of an image by any of its names; None if there is none."""
    parts = img_path.replace('\\', '/').split('/')
    names = [str(img_id), '/'.join(parts[-2:]), parts[-1]]
    names += [os.path.splitext(name)[0] for name in names[1:]]
    return next((labels[name] for name in names if name in labels), None)


def _csv_pairs(path: str) -> list[tuple[str, str]]:
    lines = csv.reader(io.StringIO(read_text(path), newline=''))
    rows = [[cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)]
    columns = 0, 1
    if rows and {'image', 'class'} <= set(rows[0]):
        columns = rows[0].index('image'), rows[0].index('class')
        rows = rows[1:]
    for position, row in enumerate(rows, 1):
        if len(row) <= max(columns):
            raise ValueError(f'{path}, entry {position}: {row}; expected image and class, separated by a comma')
    return [(row[columns[0]], row[columns[1]]) for row in rows]


def _json_pairs(path: str) -> list[tuple[str, object]]:
    content = read_json(path, 'write it again')
    if isinstance(content, dict):
        return [(str(image), value) for image, value in content.items()]
    if isinstance(content, list) and all(isinstance(one, dict) and {'image', 'class'} <= set(one) for one in content):
        return [(str(one['image']), one['class']) for one in content]
    raise ValueError(f'{path} must hold an object {{image: class}} or a list of {{"image": ..., "class": ...}}')


def _label(value: object, names: dict[str, int], count: int, first_label: int) -> int:
    """Convert a class value of the file to its label."""
    if isinstance(value, list):
        if len(value) != count or not all(map(is_number, value)):
            raise ValueError(f'expected {count} scores, one a class, got {len(value)} values')
        return max(range(count), key=value.__getitem__)
    if isinstance(value, str) and value in names:
        return names[value]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not _NUMBER.fullmatch(str(value)):
        raise ValueError(f'{value!r} is no class of the data set and no number')
    number = int(value)
    if not first_label <= number < first_label + count:
        raise ValueError(f'class number {number} is not in {first_label} … {first_label + count - 1}; where the file '
                         'counts from another number, set first_label')
    return number - first_label
