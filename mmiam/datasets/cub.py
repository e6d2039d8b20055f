"""CUB-200-2011 for localization: birds of 200 species, with one box per image.

Its text files have one line per image (or class), beginning with its number. Boxes are (x, y, width, height) in pixels,
as floats; their coordinates are taken to count from 0.
"""
from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from mmdet.registry import DATASETS

from mmiam.utils.files import read_lines

from .image_files import refuse_missing
from .image_level import ImageLevelDataset

SPLITS = ('train', 'test', 'all')


def _one(words: list[str]) -> str:
    value, = words
    return value


def _path(words: list[str]) -> str:
    """Read a path below ``images/``, and refuse one that leads out of that folder."""
    value = _one(words)
    if os.path.isabs(value) or '..' in value.split('/'):
        raise ValueError
    return value


def _box(words: list[str]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, words)
    if not (math.isfinite(x) and math.isfinite(y) and 0 < width < math.inf and 0 < height < math.inf):
        raise ValueError
    return x, y, width, height


#: file -> what a line looks like, and the function that turns the words after the number into a value
FILES: dict[str, tuple[str, Callable[[list[str]], Any]]] = {
    'classes.txt': ("'1 001.Black_footed_Albatross'", _one),
    'images.txt': ("'1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg'", _path),
    'image_class_labels.txt': ("'<image number> <class number>'", lambda words: int(_one(words))),
    'train_test_split.txt': ("'<image number> <1 for training, 0 for test>'",
                             lambda words: bool(('0', '1').index(_one(words)))),
    'bounding_boxes.txt': ("'<image number> <x> <y> <width> <height>' with positive width and height", _box),
}


def read_table(path: str) -> dict[int, Any]:
    """Read one of :data:`FILES`, with lines ``<number> <value ...>``, into a dictionary from number to value.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line has another form, a number occurs twice, or there is no line; names file and line.
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
    """Read the class names in ``classes.txt``, in the order of their numbers, which must be 1, 2, …

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the numbers have a gap, or a name occurs twice.
    """
    names = read_table(path)
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f'{path}: the classes must be numbered 1, 2, … without gap; restore the file')
    if len(set(names.values())) != len(names):
        raise ValueError(f'{path} names a class twice; restore the file')
    return tuple(names[number] for number in sorted(names))


@DATASETS.register_module()
class CUBDataset(ImageLevelDataset):
    """CUB-200-2011 in its own layout (``CUB_200_2011/``, as unpacked).

    A sample has ``img_id`` (the number in ``images.txt``), ``img_path`` and ``image_labels`` (one label; label 0 is
    class number 1); with ``test_mode=True``, it also has ``instances``, a list with one dict: ``bbox``
    [x1, y1, x2, y2] in pixels of the original image, ``bbox_label``, ``ignore_flag`` 0. A training sample has no box.

    Args:
        data_root (str): folder with ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``,
            ``bounding_boxes.txt`` (only read in test mode), ``classes.txt`` and ``images/``.
        split (str): ``'train'`` (5,994 images), ``'test'`` (5,794) or ``'all'``.
        metainfo (dict, optional): its ``classes`` are other names for the classes, in the order of their numbers; by
            default, the names are those in ``classes.txt``.
        **kwargs: see :class:`ImageLevelDataset` (``pipeline``, ``test_mode``, …).

    Raises:
        FileNotFoundError, ValueError: if the data set is incomplete or malformed; names the file, line or image at
            fault, and the remedy.
    """

    def __init__(self, data_root: str = 'data/CUB_200_2011', split: str = 'test', metainfo: dict | None = None,
                 **kwargs) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        self.split = split
        if 'classes' not in (metainfo or {}):
            metainfo = dict(metainfo or {}, classes=read_classes(os.path.join(data_root, 'classes.txt')))
        super().__init__(data_root=data_root, ann_file='images.txt', data_prefix=dict(img='images'), metainfo=metainfo,
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        """Make one entry per image of the split, in the order of their numbers."""
        images = read_table(self.ann_file)
        labels = self._complete('image_class_labels.txt', images)
        in_train = self._complete('train_test_split.txt', images)
        boxes = self._complete('bounding_boxes.txt', images) if self.test_mode else {}
        chosen = [number for number in sorted(images)
                  if self.split == 'all' or in_train[number] == (self.split == 'train')]
        if not chosen:
            raise ValueError(f'{self._file("train_test_split.txt")} puts no image into {self.split!r}; restore it')
        entries = [self._entry(number, images[number], labels[number], boxes.get(number)) for number in chosen]
        refuse_missing([entry['img_path'] for entry in entries if not os.path.isfile(entry['img_path'])], len(entries),
                       f'{self.ann_file} lists them: unpack the data set again')
        return entries

    def _file(self, name: str) -> str:
        return os.path.join(self.data_root, name)

    def _complete(self, name: str, images: dict[int, str]) -> dict:
        """Read a table, which must have a line for every image in ``images.txt``."""
        table = read_table(self._file(name))
        missing = sorted(set(images) - set(table))
        if missing:
            raise ValueError(f'{self._file(name)} has no line for image {missing[0]} ({images[missing[0]]}; '
                             f'{len(missing)} of {len(images)} images are missing); restore it')
        return table

    def _entry(self, number: int, name: str, class_number: int, box: tuple | None) -> dict:
        """Make the entry of one image."""
        count = len(self._metainfo['classes'])
        if not 1 <= class_number <= count:
            raise ValueError(f'{self._file("image_class_labels.txt")}: image {number} has class {class_number}, and '
                             f'there are {count} classes, numbered from 1')
        path = os.path.join(self.data_prefix['img'], *name.split('/'))
        entry: dict = dict(img_id=str(number), img_path=path, image_labels=[class_number - 1])
        if box is not None:
            x, y, width, height = box
            entry['instances'] = [dict(bbox=[x, y, x + width, y + height], bbox_label=class_number - 1, ignore_flag=0)]
        return entry
