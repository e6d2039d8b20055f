"""Your own images, which have only tags."""
from __future__ import annotations

import os
from collections import Counter

from mmdet.registry import DATASETS
from mmengine.logging import print_log

from mmiam.utils.images import by_stem

from .image_level import ImageLevelDataset
from .tag_files import FOLDERS, read_tags
from .voc_palette import class_palette


@DATASETS.register_module()
class WeakLabelDataset(ImageLevelDataset):
    """Images with tags: one folder per class, CSV (file, tag, tag, …), or COCO json.

    In COCO json, only images, categories and category ids are read, whatever else it contains. There are no masks, not
    even in test mode, so only the image-level labels can be evaluated.

    A sample has ``img_id`` (the name: path relative to ``img_root``), ``img_path``, ``height``, ``width`` (pixels),
    ``image_labels`` (sorted list of int), ``proposal_name`` (the name without suffix, by which
    :class:`LoadSegmentProposals` finds its file) and ``source_id`` (the image's id in COCO json, or None). With COCO
    json, ``metainfo`` has its ``category_ids``, by class name.

    Args:
        img_root (str): folder of the images.
        ann_file (str): ``.csv`` or ``.json`` file of tags, or 'folders' (default) for one folder per class. Like
            ``img_root``, it is relative to the working directory.
        metainfo (dict, optional): ``classes``, by default those of the source: categories in the order of the file, or
            else the names in sorted order. Images keep those of their tags that are among the classes; the others are
            counted in the log.
        **kwargs: see :class:`ImageLevelDataset` (``pipeline``, ``filter_cfg``, ``test_mode``, …).

    Raises:
        FileNotFoundError, ValueError: if something is missing or malformed; names the file with line or key, and the
            remedy.
    """

    label_keys = "metainfo['classes'], img_root and ann_file"

    def __init__(self, img_root: str, ann_file: str = FOLDERS, **kwargs) -> None:
        for key in ('data_root', 'data_prefix'):
            if kwargs.get(key):
                raise ValueError(f'WeakLabelDataset takes img_root (the image folder) and no {key}')
            kwargs.pop(key, None)
        super().__init__(ann_file=ann_file, data_prefix=dict(img=img_root), **kwargs)

    def source_name(self) -> str:
        """Return the file of tags, or the image folder."""
        return self.data_prefix['img'] if self.ann_file == FOLDERS else self.ann_file

    def load_data_list(self) -> list[dict]:
        """Read names and tags.

        Returns:
            list[dict]: one entry per image, in the order of the source.
        """
        tagged = read_tags(self.data_prefix['img'], self.ann_file)
        if 'classes' not in self._metainfo:
            self._metainfo.update(classes=tagged.classes, palette=class_palette(tagged.classes))
        counts = Counter(tag for image in tagged.images for tag in image.tags)
        suffixes = Counter(os.path.splitext(image.name)[1].lower() for image in tagged.images)
        print_log(f'{self.source_name()}: {len(tagged.images)} images {dict(suffixes)}, of each tag: {dict(counts)}',
                  logger='current')
        labels = self.labels_of((image.tags for image in tagged.images), 'tags')
        if tagged.category_ids:
            self._metainfo['category_ids'] = tagged.category_ids
        stems = by_stem((image.name for image in tagged.images), self.source_name())
        return [dict(img_id=image.name, source_id=image.source_id, image_labels=found, proposal_name=stem,
                     img_path=os.path.join(self.data_prefix['img'], image.name))
                for stem, image, found in zip(stems, tagged.images, labels)]
