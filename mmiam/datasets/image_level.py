"""What the data sets of images with image-level labels share: metainfo, filter, sizes, errors that name the image."""
import os

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from .image_files import check_image_file, image_size
from .voc_palette import class_palette


class ImageLevelDataset(BaseDetDataset):
    """Images with image-level labels; sub-classes give ``load_data_list``.

    An entry has ``img_id``, ``img_path``, ``height`` and ``width`` (pixels, or None: read from the image's header
    when the sample is made) and ``image_labels`` (sorted list of int, indices into ``classes``).

    Args:
        filter_cfg (dict, optional): For training: ``filter_empty_gt`` (default True) leaves out images
            without any label, ``min_size`` (default 0) those with a shorter side. The numbers are logged.
        **kwargs: As of :class:`mmdet.datasets.BaseDetDataset` (``pipeline``, ``test_mode``, …).
    """

    #: what to look at when no image has a label
    label_keys = 'the classes'

    @classmethod
    def _load_metainfo(cls, metainfo=None) -> dict:
        """As of BaseDataset; classes without a palette get the palette of those very classes."""
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
        """What messages call the list of images: a file."""
        return self.ann_file

    def filter_data(self) -> list[dict]:
        """Leave out, at training only, images without labels and images that are too small; log how many."""
        if self.test_mode:
            return self.data_list
        config = self.filter_cfg or {}
        kept, empty, small = [], 0, 0
        for entry in self.data_list:
            if config.get('filter_empty_gt', True) and not entry['image_labels']:
                empty += 1
            elif config.get('min_size', 0) > 0 and min(self._size(entry)) < config['min_size']:
                small += 1
            else:
                kept.append(entry)
        for number, reason in ((empty, 'no image-level label (filter_empty_gt)'),
                               (small, 'too small (min_size)')):
            if number:
                print_log(f'{self.source_name()}: {number} of {len(self.data_list)} images left out: {reason}',
                          logger='current')
        if not kept:
            raise ValueError(f'{self.source_name()}: none of the {len(self.data_list)} images has a label of the '
                             f"classes {self._metainfo['classes']}; check {self.label_keys}")
        return kept

    @staticmethod
    def _size(entry: dict) -> tuple[int, int]:
        """(height, width) of an entry, from the image's header where the annotation does not tell."""
        if entry['height'] is None or entry['width'] is None:
            return image_size(entry['img_path'])
        return entry['height'], entry['width']

    def get_data_info(self, idx: int) -> dict:
        """The entry of an image, its size filled in."""
        entry = super().get_data_info(idx)
        entry['height'], entry['width'] = self._size(entry)
        return entry

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of an image (for class-balanced sampling)."""
        return self.get_data_info(idx)['image_labels']

    def image_name(self, idx: int) -> str:
        """Path of an image relative to the image folder, with ``/``, as COCO's ``file_name`` has it."""
        path = super().get_data_info(idx)['img_path']
        return os.path.relpath(path, self.data_prefix['img']).replace(os.sep, '/')

    def prepare_data(self, idx: int) -> dict:
        """A sample through the pipeline; an error names the image."""
        entry = self.get_data_info(idx)
        check_image_file(entry['img_path'])
        try:
            return self.pipeline(entry)
        except Exception as error:
            error.add_note(f"while preparing image {entry['img_id']!r} of {self.source_name()} "
                           f"({entry['img_path']}); if the file is damaged, download it again")
            raise
