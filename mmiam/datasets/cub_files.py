"""The text files of CUB-200-2011: one line an image (or class), the number first.

Boxes are (x, y, width, height) in pixels, floats; taken as counted from 0.
"""
from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from mmiam.utils.files import read_lines


def _one(words: list[str]) -> str:
    value, = words
    return value


def _path(words: list[str]) -> str:
    """A path below ``images/``, which never leads out of that folder."""
    value = _one(words)
    if os.path.isabs(value) or '..' in value.split('/'):
        raise ValueError
    return value


def _box(words: list[str]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, words)
    if not (math.isfinite(x) and math.isfinite(y) and 0 < width < math.inf and 0 < height < math.inf):
        raise ValueError
    return x, y, width, height


#: file -> what a line looks like, and what makes a value of the words after the number
FILES: dict[str, tuple[str, Callable[[list[str]], Any]]] = {
    'classes.txt': ("'1 001.Black_footed_Albatross'", _one),
    'images.txt': ("'1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg'", _path),
    'image_class_labels.txt': ("'<image number> <class number>'", lambda words: int(_one(words))),
    'train_test_split.txt': ("'<image number> <1 for training, 0 for test>'",
                             lambda words: bool(('0', '1').index(_one(words)))),
    'bounding_boxes.txt': ("'<image number> <x> <y> <width> <height>' with positive width and height", _box),
}


def read_table(path: str) -> dict[int, Any]:
    """Number -> value of one of :data:`FILES`, of lines ``<number> <value ...>``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and line, if a line has another form or a number occurs twice, or if there is no line.
    """
    form, parse = FILES[os.path.basename(path)]
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} does not exist; data_root must be the folder CUB_200_2011 as it is unpacked, '
                                'with images.txt and images/ in it')
    table: dict[int, Any] = {}
    for position, line in read_lines(path):
        words = line.split()
        try:
            number, value = int(words[0]), parse(words[1:])
        except ValueError:
            raise ValueError(f'{path}, line {position}: {line!r}; expected {form}') from None
        if number in table:
            raise ValueError(f'{path}, line {position}: number {number} is there twice; restore the file')
        table[number] = value
    if not table:
        raise ValueError(f'{path} is empty; restore it')
    return table


def read_classes(path: str) -> tuple[str, ...]:
    """Class names of ``classes.txt`` in the order of their numbers, which must be 1, 2, …"""
    names = read_table(path)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f'{path}: the classes must be numbered 1, 2, … without gap; restore the file')
    if len(set(names.values())) != len(names):
        raise ValueError(f'{path} names a class twice; restore the file')
    return tuple(names[number] for number in sorted(names))
