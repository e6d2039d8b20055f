"""CUB-200-2011 for localization: birds of 200 species, one box an image."""
from __future__ import annotations

import os

from mmdet.registry import DATASETS

from .cub_files import read_classes, read_table
from .image_level import ImageLevelDataset
from .image_lists import refuse_missing

SPLITS = ('train', 'test', 'all')


@DATASETS.register_module()
class CUBDataset(ImageLevelDataset):
    """CUB-200-2011 in its own layout (``CUB_200_2011/``, as it is unpacked).

    A sample: ``img_id`` (the number in ``images.txt``), ``img_path``, ``image_labels`` (one label; label 0 is class
    number 1); with ``test_mode=True`` also ``instances``, a list with one dict: ``bbox`` [x1, y1, x2, y2] in pixels of
    the original image, ``bbox_label``, ``ignore_flag`` 0. A training sample has no box.

    Args:
        data_root (str): The folder with ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``,
            ``bounding_boxes.txt`` (read in test mode only), ``classes.txt`` and ``images/``.
        split (str): ``'train'`` (5,994 images), ``'test'`` (5,794) or ``'all'``.
        **kwargs: As of :class:`ImageLevelDataset` (``pipeline``, ``test_mode``, …). ``classes`` in ``metainfo`` are
            other names for the classes, in the order of their numbers; without it they are those of ``classes.txt``.

    Raises:
        FileNotFoundError, ValueError: naming the file, line or image at fault, and the remedy.
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
        """One entry an image of the split, in the order of the numbers."""
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
        """The table of a file, which must have every image of ``images.txt``."""
        table = read_table(self._file(name))
        missing = sorted(set(images) - set(table))
        if missing:
            raise ValueError(f'{self._file(name)} has no line for image {missing[0]} ({images[missing[0]]}; '
                             f'{len(missing)} of {len(images)} images are missing); restore it')
        return table

    def _entry(self, number: int, name: str, class_number: int, box: tuple | None) -> dict:
        """The entry of one image."""
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
