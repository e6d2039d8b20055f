"""What all data sets with image-level labels share: metainfo, filter, image sizes, errors that name the image."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import cv2
from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from mmiam.utils.errors import add_note
from mmiam.utils.images import check_image_file, image_size

from .voc_palette import class_palette

FILTER_KEYS = ('filter_empty_gt', 'min_size', 'exclude_classes', 'keep_classes')


class ImageLevelDataset(BaseDetDataset):
    """Base class of data sets with image-level labels; subclasses implement ``load_data_list``.

    An entry has ``img_id``, ``img_path`` and ``image_labels`` (sorted list of int, indices into ``classes``). Its
    ``height`` and ``width`` (in pixels, as displayed) always come from the image's header, because annotations often
    state a size that is not the file's, or that of a phone's photo before it is rotated.

    Args:
        filter_cfg (dict, optional): In training, ``filter_empty_gt`` (default True) leaves out images without any
            label, and ``min_size`` (default 0) images with a side shorter than this. In training and test,
            ``exclude_classes`` (Sequence[str]) leaves out images with a label of any of these classes, and
            ``keep_classes`` images with a label of none of these. The numbers are logged.
        **kwargs: see :class:`mmdet.datasets.BaseDetDataset` (``pipeline``, ``test_mode``, …).
    """

    #: what a user should check if no image has a label
    label_keys = 'the classes'

    @classmethod
    def _load_metainfo(cls, metainfo=None) -> dict:
        """Do the same as ``BaseDataset``, but give classes without a palette the colors of these very classes."""
        loaded = super()._load_metainfo(metainfo)
        if 'classes' not in loaded:
            return loaded
        classes = loaded['classes']
        loaded['classes'] = (classes, ) if isinstance(classes, str) else tuple(classes)
        if len(set(loaded['classes'])) != len(loaded['classes']):
            raise ValueError(f"metainfo['classes'] names a class twice: {loaded['classes']}")
        if metainfo is not None and 'classes' in metainfo and 'palette' not in metainfo:
            loaded['palette'] = class_palette(loaded['classes'])
        return loaded

    def source_name(self) -> str:
        """Return the name that messages use for the source of the images: here, a file."""
        return self.ann_file

    def filter_data(self) -> list[dict]:
        """Leave out images as ``filter_cfg`` says, and log their number for each reason.

        Raises:
            ValueError: if a key or class is unknown, since a typo would train on what was to be held out; or if no
                image is left.
        """
        config = dict(self.filter_cfg or {})
        unknown = set(config) - set(FILTER_KEYS)
        if unknown:
            raise ValueError(f'filter_cfg has no {sorted(unknown)}; its keys are {FILTER_KEYS}')
        excluded, wanted = (self._filter_labels(key, config.get(key)) for key in ('exclude_classes', 'keep_classes'))
        kept, left_out = [], Counter()
        for entry in self.data_list:
            labels = set(entry['image_labels'])
            if labels & excluded:
                left_out['has an excluded class (exclude_classes)'] += 1
            elif wanted and not labels & wanted:
                left_out['has none of the classes to keep (keep_classes)'] += 1
            elif self.test_mode:
                kept.append(entry)
            elif config.get('filter_empty_gt', True) and not labels:
                left_out['no image-level label (filter_empty_gt)'] += 1
            elif config.get('min_size', 0) > 0 and min(image_size(entry['img_path'])) < config['min_size']:
                left_out['too small (min_size)'] += 1
            else:
                kept.append(entry)
        for reason, number in left_out.items():
            print_log(f'{self.source_name()}: {number} of {len(self.data_list)} images left out: {reason}',
                      logger='current')
        if not kept:
            raise ValueError(f'{self.source_name()}: none of the {len(self.data_list)} images has a label of the '
                             f"classes {self._metainfo['classes']} and passes filter_cfg {config}; check "
                             f'{self.label_keys}, and filter_cfg')
        return kept

    def labels_of(self, images: Iterable[Iterable[str]], what: str) -> list[list[int]]:
        """Turn the class names of each image into sorted labels; other names are logged, as so many of ``what``."""
        index = {name: label for label, name in enumerate(self._metainfo['classes'])}
        images = list(images)
        others = Counter(name for names in images for name in names if name not in index)
        if others:
            print_log(f'{self.source_name()}: {what} that are not among the classes were left out: {dict(others)}',
                      logger='current')
        return [sorted({index[name] for name in names if name in index}) for names in images]

    def _filter_labels(self, key: str, names: Sequence[str] | None) -> set[int]:
        """Look up the labels of the classes that ``filter_cfg[key]`` names."""
        classes = self._metainfo['classes']
        names = (names, ) if isinstance(names, str) else tuple(names or ())
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise ValueError(f'filter_cfg[{key!r}] names {unknown}, which are none of the classes {classes}')
        return {classes.index(name) for name in names}

    def entry(self, idx: int) -> dict:
        """Return the entry of an image as listed; it also exists for a broken file, which is not touched."""
        return super().get_data_info(idx)

    def get_data_info(self, idx: int) -> dict:
        """Return the entry of an image, with its size."""
        entry = self.entry(idx)
        entry['height'], entry['width'] = image_size(entry['img_path'])
        return entry

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of an image (for class-balanced sampling)."""
        return self.entry(idx)['image_labels']

    def image_path(self, idx: int) -> str:
        """Return the path of an image, without touching the file."""
        return self.entry(idx)['img_path']

    def image_name(self, idx: int) -> str:
        """Return the path of an image relative to the image folder, with ``/``, like COCO's ``file_name``."""
        return os.path.relpath(self.image_path(idx), self.data_prefix['img']).replace(os.sep, '/')

    def prepare_data(self, idx: int) -> dict:
        """Run an image through the pipeline; an error names the image."""
        return run_pipeline(self.pipeline, self.get_data_info(idx), self.source_name())


def run_pipeline(pipeline: Callable[[dict], dict], entry: dict, source: str) -> dict:
    """Check that an entry's image is complete, and run it through a pipeline; a note on any error names the image."""
    check_image_file(entry['img_path'])
    try:
        return pipeline(entry)
    except (AssertionError, cv2.error) as error:  # from mmcv's loader
        raise ValueError(f'image {entry["img_path"]} is of a kind that OpenCV does not read; save it as PNG or JPEG '
                         f'({str(error).strip()})') from error
    except Exception as error:
        add_note(error, f'while preparing image {entry["img_id"]!r} of {source} ({entry["img_path"]}); if the file is '
                        'damaged, download it again')
        raise
