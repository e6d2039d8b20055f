"""Data sets of salient object detection: a folder of images, and a folder of masks with the same names."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from glob import escape, glob

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from mmiam.utils.files import read_lines

from .image_files import complete_prefix, refuse_missing
from .image_level import run_pipeline


@DATASETS.register_module()
class SaliencyDataset(BaseDetDataset):
    """Images and masks with the same stem, for evaluation.

    ========== ================================ =========================================================
    data set   layout below ``data_root``       ``data_prefix``
    ========== ================================ =========================================================
    ECSSD      images/*.jpg,                    img='images', mask='ground_truth_mask' (the default)
               ground_truth_mask/*.png
    MSRA-B     Imgs/*.jpg, Imgs/*.png           img='Imgs', mask='Imgs'; or two folders
    THUR15K    Butterfly/Src/*.jpg,             img='*/Src', mask='*/Src' or '*/GT', without_mask='skip'
               Butterfly/Src/*.png or GT/*.png,
               and so on for four more classes
    ========== ================================ =========================================================

    A ``*`` stands for one folder name, the same in both; the id of an image is then ``<that name>/<stem>``, and
    otherwise its stem. A sample has ``img_id`` (str), ``img_path`` and ``saliency_mask_path``.

    Args:
        data_root (str): folder of the data set.
        ann_file (str): list, below ``data_root``, of the images to use, one per line (an id, or a path to the image;
            what follows its suffix is ignored). If empty, all images are used, sorted by id.
        data_prefix (dict, optional): folders below ``data_root``: ``img`` and ``mask``.
        img_suffix (str): suffix of image files.
        mask_suffix (str): suffix of mask files.
        without_mask (str): ``'error'``, or ``'skip'`` to leave out images without a mask and log their number (of
            THUR15K's 15,000 images, 6,233 have a mask).
        **kwargs: see :class:`mmdet.datasets.BaseDetDataset`; ``test_mode`` is True by default.

    Raises:
        FileNotFoundError, ValueError: if something is missing or malformed; names the folder, list, image or mask at
            fault, and the remedy.
    """

    METAINFO = dict(classes=('salient object', ), palette=[(220, 20, 60)])
    #: its one class is not a class of any model, so checkpoints with any classes can be evaluated
    class_agnostic = True
    PREFIX = dict(img='images', mask='ground_truth_mask')

    def __init__(self, data_root: str = 'data/ECSSD', ann_file: str = '', data_prefix: Mapping[str, str] | None = None,
                 img_suffix: str = '.jpg', mask_suffix: str = '.png', without_mask: str = 'error', **kwargs) -> None:
        if without_mask not in ('error', 'skip'):
            raise ValueError(f"without_mask must be 'error' or 'skip', got {without_mask!r}")
        prefix = complete_prefix(data_prefix, self.PREFIX)
        stars = {(value.count('*'), value.split('/').count('*')) for value in prefix.values()}
        if stars not in ({(0, 0)}, {(1, 1)}):
            raise ValueError(f'data_prefix {prefix}: a * is one whole folder name, once in img and once in mask')
        if prefix['img'] == prefix['mask'] and img_suffix == mask_suffix:
            raise ValueError(f'images and masks are in {prefix["img"]!r} and both end on {img_suffix!r}; set '
                             'img_suffix and mask_suffix, or another folder in data_prefix')
        self.suffixes = dict(img=img_suffix, mask=mask_suffix)
        self.without_mask = without_mask
        kwargs.setdefault('test_mode', True)
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pair images and masks.

        Returns:
            list[dict]: one entry per image, in the order of the list, or sorted by id.
        """
        images, masks = self._ids('img'), self._ids('mask')
        if self.ann_file:
            wanted = read_list(self.ann_file, self.suffixes['img'], with_folder='*' in self.data_prefix['img'])
        else:
            wanted = sorted(images)
            self._refuse_missing('img', sorted(masks - images), len(masks))
        self._refuse_missing('img', [key for key in wanted if key not in images], len(wanted))
        without = [key for key in wanted if key not in masks]
        if self.without_mask == 'error':
            self._refuse_missing('mask', without, len(wanted))
        elif without:
            print_log(f'{self.data_prefix["img"]}: {len(without)} of {len(wanted)} images left out: no mask '
                      '(without_mask)', logger='current')
        if len(without) == len(wanted):
            raise ValueError(f'none of the {len(wanted)} images in {self.data_prefix["img"]} has a mask '
                             f'*{self.suffixes["mask"]} in {self.data_prefix["mask"]}; check data_prefix and '
                             'mask_suffix')
        return [dict(img_id=key, img_path=self._path('img', key), saliency_mask_path=self._path('mask', key))
                for key in wanted if key in masks]

    def filter_data(self) -> list[dict]:
        """Return all entries: nothing is left out of an evaluation."""
        return self.data_list

    def _ids(self, prefix: str) -> set[str]:
        """Find the ids of the files in a folder, or in all folders that the star stands for."""
        pattern, suffix = os.path.normpath(self.data_prefix[prefix]), self.suffixes[prefix]
        before, star, after = pattern.partition('*')
        if not os.path.isdir(before):
            raise FileNotFoundError(f'folder {before} does not exist; check data_root and data_prefix[{prefix!r}], or '
                                    'see docs/saliency.md for the expected layout')
        found = set()
        for path in glob(f'{escape(before)}{star}{escape(after)}/*{escape(suffix)}'):
            folder, name = os.path.split(path[:-len(suffix)])
            found.add(f'{folder[len(before):len(folder) - len(after)]}/{name}' if star else name)
        if not found:
            raise FileNotFoundError(f'no file *{suffix} in {pattern}; check data_root, data_prefix[{prefix!r}] and '
                                    f'{prefix}_suffix, or see docs/saliency.md for the expected layout')
        return found

    def _path(self, prefix: str, key: str) -> str:
        """Return the file of an id."""
        name, _, stem = key.rpartition('/')
        return os.path.join(self.data_prefix[prefix].replace('*', name), stem + self.suffixes[prefix])

    def _refuse_missing(self, prefix: str, keys: list[str], number: int) -> None:
        remedy = ("set without_mask='skip' to leave their images out" if prefix == 'mask' else
                  'name the images to take in a list (ann_file)')
        refuse_missing([self._path(prefix, key) for key in keys], number, f'restore them, or {remedy}')

    def prepare_data(self, idx: int) -> dict:
        """Run an image through the pipeline; an error names the image."""
        return run_pipeline(self.pipeline, self.get_data_info(idx), self.data_prefix['img'])


def read_list(path: str, img_suffix: str, with_folder: bool) -> list[str]:
    """Read the ids in a list file: the stem in each line, preceded by its first folder if ``with_folder``.

    ``Butterfly/Src/12.jpg`` and ``Butterfly/12`` both become ``Butterfly/12`` with folder, and ``12`` without. What
    follows the suffix in a line is ignored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no id, or an id twice.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'image list {path} does not exist; check data_root and ann_file')
    ids = []
    for _, line in read_lines(path):
        parts = [part for part in line.partition(img_suffix)[0].split('/') if part]
        if parts:
            ids.append(f'{parts[0]}/{parts[-1]}' if with_folder and len(parts) > 1 else parts[-1])
    if not ids:
        raise ValueError(f'image list {path} is empty')
    twice = [key for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f'image list {path} names {twice[0]!r} twice')
    return ids
