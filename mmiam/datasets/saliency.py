"""Data sets of salient object detection: a folder of images and a folder of masks of the same names."""
from __future__ import annotations

import os
from collections.abc import Mapping

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from mmiam.utils.files import read_lines

from .image_level import run_pipeline


@DATASETS.register_module()
class SaliencyDataset(BaseDetDataset):
    """Images and masks with the same stem; for evaluation.

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

    A ``*`` stands for one folder name, the same in both; the id of an image is then ``<that name>/<stem>``, elsewhere
    its stem. A sample: ``img_id`` str, ``img_path``, ``saliency_mask_path``.

    Args:
        data_root (str): The data set's folder.
        ann_file (str): List below ``data_root`` of the images to take, one a line (an id, or a path to the image; what
            follows its suffix is not read). Empty: all images, sorted by id.
        data_prefix (dict, optional): Folders below ``data_root``: ``img`` and ``mask``.
        img_suffix (str): Suffix of image files.
        mask_suffix (str): Suffix of mask files.
        without_mask (str): ``'error'``, or ``'skip'`` to leave out images without a mask and log how many (of
            THUR15K's 15,000 images 6,233 have one).
        **kwargs: As of :class:`mmdet.datasets.BaseDetDataset`; ``test_mode`` defaults to True.

    Raises:
        FileNotFoundError, ValueError: naming the folder, list, image or mask at fault, and the remedy.
    """

    METAINFO = dict(classes=('salient object', ), palette=[(220, 20, 60)])
    #: its one class is none of a model's: a checkpoint of any classes is evaluated
    class_agnostic = True
    PREFIX = dict(img='images', mask='ground_truth_mask')

    def __init__(self, data_root: str = 'data/ECSSD', ann_file: str = '', data_prefix: Mapping[str, str] | None = None,
                 img_suffix: str = '.jpg', mask_suffix: str = '.png', without_mask: str = 'error', **kwargs) -> None:
        if without_mask not in ('error', 'skip'):
            raise ValueError(f"without_mask must be 'error' or 'skip', got {without_mask!r}")
        prefix = {**self.PREFIX, **(data_prefix or {})}
        if set(prefix) != set(self.PREFIX):
            raise ValueError(f'data_prefix has no {sorted(set(prefix) - set(self.PREFIX))}; its keys are '
                             f'{sorted(self.PREFIX)}')
        stars = {value.split('/').count('*') for value in prefix.values()} | {v.count('*') for v in prefix.values()}
        if stars not in ({0}, {1}):
            raise ValueError(f'data_prefix {prefix}: a * is one whole folder name, once in img and once in mask')
        if prefix['img'] == prefix['mask'] and img_suffix == mask_suffix:
            raise ValueError(f'images and masks are in {prefix["img"]!r} and both end on {img_suffix!r}; set '
                             'img_suffix and mask_suffix, or another folder in data_prefix')
        self.img_suffix = img_suffix
        self.mask_suffix = mask_suffix
        self.without_mask = without_mask
        kwargs.setdefault('test_mode', True)
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pair images and masks.

        Returns:
            list[dict]: One entry an image, in the order of the list, or sorted by id.
        """
        images = self._files('img', self.img_suffix)
        masks = self._files('mask', self.mask_suffix)
        if self.ann_file:
            wanted = read_list(self.ann_file, self.img_suffix, with_folder='*' in self.data_prefix['img'])
        else:
            wanted = sorted(images)
            self._refuse_missing([key for key in sorted(masks) if key not in images], 'img', len(masks))
        self._refuse_missing([key for key in wanted if key not in images], 'img', len(wanted))
        without = [key for key in wanted if key not in masks]
        if self.without_mask == 'error':
            self._refuse_missing(without, 'mask', len(wanted))
        elif without:
            print_log(f'{self.data_prefix["img"]}: {len(without)} of {len(wanted)} images left out: no mask '
                      '(without_mask)', logger='current')
        entries = [dict(img_id=key, img_path=images[key], saliency_mask_path=masks[key])
                   for key in wanted if key in masks]
        if not entries:
            raise ValueError(f'none of the {len(wanted)} images in {self.data_prefix["img"]} has a mask '
                             f'*{self.mask_suffix} in {self.data_prefix["mask"]}; check data_prefix and mask_suffix')
        return entries

    def filter_data(self) -> list[dict]:
        """All entries: nothing is left out of an evaluation."""
        return self.data_list

    def _files(self, prefix: str, suffix: str) -> dict[str, str]:
        """id -> path of the files with a suffix in a folder, or in one folder for each name of the star."""
        pattern = self.data_prefix[prefix]
        before, star, after = pattern.partition('*')
        root = before if star else pattern
        if not os.path.isdir(root):
            raise FileNotFoundError(f'folder {root} does not exist; check data_root and data_prefix[{prefix!r}], or '
                                    'see docs/saliency.md for the expected layout')
        names = sorted(os.listdir(root)) if star else ['']
        folders = {name: os.path.normpath(before + name + after) for name in names if not name.startswith('.')}
        found = {}
        for name, folder in folders.items():
            if os.path.isdir(folder):
                for file in os.listdir(folder):
                    if file.endswith(suffix) and not file.startswith('.'):
                        stem = file[:-len(suffix)]
                        found[f'{name}/{stem}' if name else stem] = os.path.join(folder, file)
        if not found:
            raise FileNotFoundError(f'no file *{suffix} in {pattern}; check data_root, data_prefix[{prefix!r}] and '
                                    f'{"img" if prefix == "img" else "mask"}_suffix, or see docs/saliency.md for the '
                                    'expected layout')
        return found

    def _refuse_missing(self, missing: list[str], prefix: str, number: int) -> None:
        """Raise FileNotFoundError for the first id without its file."""
        if not missing:
            return
        star, _, stem = missing[0].rpartition('/')
        suffix = self.img_suffix if prefix == 'img' else self.mask_suffix
        path = os.path.join(self.data_prefix[prefix].replace('*', star), stem + suffix)
        remedy = ("; restore them, or set without_mask='skip' to leave their images out" if prefix == 'mask' else
                  '; restore them, or name the images to take in a list (ann_file)')
        raise FileNotFoundError(f'{path} does not exist ({len(missing)} of {number} files are missing){remedy}')

    def prepare_data(self, idx: int) -> dict:
        """A sample through the pipeline; an error names the image."""
        return run_pipeline(self.pipeline, self.get_data_info(idx), self.data_prefix['img'])


def read_list(path: str, img_suffix: str, with_folder: bool) -> list[str]:
    """Ids of a list file: of each line its stem, with the first folder before it if asked.

    ``Butterfly/Src/12.jpg`` and ``Butterfly/12`` are both ``Butterfly/12`` with folder, ``12`` without. What
    follows the suffix on a line is not read.

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
    if len(set(ids)) < len(ids):
        twice = next(key for key in ids if ids.count(key) > 1)
        raise ValueError(f'image list {path} names {twice!r} twice')
    return ids
