"""The text files of CUB-200-2011: one line an image (or class), the number first.

Boxes are (x, y, width, height) in pixels, floats; taken as counted from 0.
"""
from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TypeVar

from mmiam.utils.files import read_lines

Value = TypeVar('Value')


def read_table(path: str, parse: Callable[[list[str]], Value], form: str) -> dict[int, Value]:
    """Number -> value of a file of lines ``<number> <value ...>``.

    Args:
        path (str): The file.
        parse (Callable): Words after the number -> value; raises ValueError or IndexError.
        form (str): What a line looks like, for messages.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and line, if a line has another form or a number occurs twice, or if there is no line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path} does not exist; data_root must be the folder CUB_200_2011 as it is unpacked, '
                                'with images.txt and images/ in it')
    table: dict[int, Value] = {}
    for position, line in read_lines(path):
        words = line.split()
        try:
            number, value = int(words[0]), parse(words[1:])
        except (ValueError, IndexError):
            raise ValueError(f'{path}, line {position}: {line!r}; expected {form}') from None
        if number in table:
            raise ValueError(f'{path}, line {position}: number {number} is there twice; restore the file')
        table[number] = value
    if not table:
        raise ValueError(f'{path} is empty; restore it')
    return table


def _one(words: list[str]) -> str:
    value, = words
    return value


def _flag(words: list[str]) -> bool:
    return bool(('0', '1').index(_one(words)))


def _box(words: list[str]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, words)
    if not (all(math.isfinite(value) for value in (x, y)) and 0 < width < math.inf and 0 < height < math.inf):
        _fail()
    return x, y, width, height


def _fail():
    raise ValueError


def read_classes(path: str) -> tuple[str, ...]:
    """Class names of ``classes.txt`` in the order of their numbers, which must be 1, 2, …"""
    names = read_table(path, _one, "'1 001.Black_footed_Albatross'")
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f'{path}: the classes must be numbered 1, 2, … without gap; restore the file')
    if len(set(names.values())) != len(names):
        raise ValueError(f'{path} names a class twice; restore the file')
    return tuple(names[number] for number in sorted(names))


def read_images(path: str) -> dict[int, str]:
    """Image number -> path below ``images/``, of ``images.txt``. A path never leads out of that folder."""

    def inside(words: list[str]) -> str:
        value = _one(words)
        return value if not os.path.isabs(value) and '..' not in value.split('/') else _fail()

    return read_table(path, inside, "'1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg'")


def read_class_labels(path: str) -> dict[int, int]:
    """Image number -> class number from 1, of ``image_class_labels.txt``."""
    return read_table(path, lambda words: int(_one(words)), "'<image number> <class number>'")


def read_split(path: str) -> dict[int, bool]:
    """Image number -> whether it is a training image, of ``train_test_split.txt``."""
    return read_table(path, _flag, "'<image number> <1 for training, 0 for test>'")


def read_boxes(path: str) -> dict[int, tuple[float, float, float, float]]:
    """Image number -> (x, y, width, height) in pixels, of ``bounding_boxes.txt``."""
    return read_table(path, _box, "'<image number> <x> <y> <width> <height>' with positive width and height")
