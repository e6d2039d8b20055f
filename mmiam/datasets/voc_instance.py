"""Instance segmentation data sets in PASCAL VOC's layout, seen through image-level labels."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from mmdet.registry import DATASETS

from .image_files import complete_prefix, refuse_missing
from .image_labels import labels_from_imagesets, read_image_list, read_objects
from .image_level import ImageLevelDataset
from .voc_palette import VOC_CLASSES, VOC_PALETTE


@DATASETS.register_module()
class VOCInstanceDataset(ImageLevelDataset):
    """PASCAL VOC with instance masks, or any data set in the same layout.

    A training sample contains its image and the classes present in it. No box is read, and the sample names no mask
    file, so no transform can open one. With ``test_mode=True``, a sample names its two mask files, which
    :class:`LoadVOCInstances` reads.

    A sample has ``img_id`` (str), ``img_path``, ``height``, ``width`` (pixels) and ``image_labels`` (sorted list of
    int); in test mode also ``semantic_mask_path``, ``instance_mask_path``, ``mask_labels`` (class index in the PNG ->
    label) and ``num_mask_classes`` (the largest class index allowed there).

    Args:
        data_root (str): folder with ``JPEGImages`` and so on.
        ann_file (str): image list below ``data_root``, one id per line. train_aug is such a list, too.
        data_prefix (dict, optional): folders below ``data_root``: ``img``, ``ann``, ``semantic``, ``instance``,
            ``labels``; by default VOC's names.
        label_source (str): ``'annotations'`` (xml) or ``'imagesets'`` (``ImageSets/Main/<class>_<split>.txt``).
        label_split (str, optional): ``<split>`` for ``'imagesets'``; by default the name of the list.
        img_suffix (str): suffix of image files.
        mask_classes (Sequence[str] | str, optional): class names in the order of the indices 1, 2, … in ``semantic``,
            or 'voc' for VOC's twenty, which is needed if only some of VOC's classes are used. By default the classes; a
            mask with an index that has no name is refused.
        metainfo (dict, optional): ``classes`` (a subset of VOC's, or other names) and ``palette``.
        filter_cfg (dict, optional): see :class:`ImageLevelDataset`: ``filter_empty_gt``, ``min_size``,
            ``exclude_classes``, ``keep_classes``.
        **kwargs: see :class:`mmdet.datasets.BaseDetDataset` (``pipeline``, ``test_mode``, …).

    Raises:
        FileNotFoundError, ValueError: if something is missing or malformed; names the list, image, annotation or mask
            at fault, and the remedy.
    """

    METAINFO = dict(classes=VOC_CLASSES, palette=VOC_PALETTE)
    label_keys = 'the classes and label_source'
    PREFIX = dict(img='JPEGImages', ann='Annotations', semantic='SegmentationClass',
                  instance='SegmentationObject', labels='ImageSets/Main')

    def __init__(self, data_root: str = 'data/VOCdevkit/VOC2012',
                 ann_file: str = 'ImageSets/Segmentation/train.txt',
                 data_prefix: Mapping[str, str] | None = None, label_source: str = 'annotations',
                 label_split: str | None = None, img_suffix: str = '.jpg',
                 mask_classes: Sequence[str] | str | None = None, **kwargs) -> None:
        if label_source not in ('annotations', 'imagesets'):
            raise ValueError(f"label_source must be 'annotations' or 'imagesets', got {label_source!r}")
        self.label_source = label_source
        self.label_split = label_split
        self.img_suffix = img_suffix
        self.mask_classes = mask_classes
        super().__init__(data_root=data_root, ann_file=ann_file,
                         data_prefix=complete_prefix(data_prefix, self.PREFIX), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list and the image-level labels.

        Returns:
            list[dict]: one entry per image, in the order of the list.
        """
        image_ids = read_image_list(self.ann_file)
        self._check_files('img', image_ids, self.img_suffix)
        if self.test_mode and self._reads_masks():
            self._check_files('semantic', image_ids, '.png')
            self._check_files('instance', image_ids, '.png')
        entries = []
        for image_id, labels in zip(image_ids, self._load_labels(image_ids)):
            entry = dict(img_id=image_id, img_path=self._path('img', image_id, self.img_suffix), image_labels=labels)
            if self.test_mode:
                entry.update(semantic_mask_path=self._path('semantic', image_id, '.png'),
                             instance_mask_path=self._path('instance', image_id, '.png'))
            entries.append(entry)
        return entries

    def _path(self, prefix: str, image_id: str, suffix: str) -> str:
        return os.path.join(self.data_prefix[prefix], image_id + suffix)

    def _reads_masks(self) -> bool:
        """Return whether the pipeline contains a transform that reads the masks."""
        return any(getattr(step, 'reads_instance_masks', False) for step in self.pipeline.transforms)

    def _check_files(self, prefix: str, image_ids: Sequence[str], suffix: str) -> None:
        """Raise a FileNotFoundError for the first image without its file; the folder is listed only once."""
        folder = self.data_prefix[prefix]
        if not os.path.isdir(folder):
            raise FileNotFoundError(f'folder {folder} does not exist; check data_root and '
                                    f'data_prefix[{prefix!r}], or see docs/data.md for the expected layout')
        present = set(os.listdir(folder))
        refuse_missing([os.path.join(folder, image_id + suffix) for image_id in image_ids
                        if image_id + suffix not in present], len(image_ids),
                       f'restore them or shorten the list, {self.ann_file}')

    def _load_labels(self, image_ids: Sequence[str]) -> list[list[int]]:
        """Read the image-level labels, in the order of ``image_ids``."""
        if self.label_source == 'imagesets':
            split = self.label_split or os.path.splitext(os.path.basename(self.ann_file))[0]
            return labels_from_imagesets(self.data_prefix['labels'], split, self._metainfo['classes'], image_ids)
        found = (read_objects(self._path('ann', image_id, '.xml')) for image_id in image_ids)
        return self.labels_of(([name for name, _ in objects] for objects in found), 'objects')

    def get_data_info(self, idx: int) -> dict:
        """Return the entry of an image with its size, and in test mode with ``mask_labels``."""
        entry = super().get_data_info(idx)
        if self.test_mode:
            classes = self._metainfo['classes']
            named = VOC_CLASSES if self.mask_classes == 'voc' else self.mask_classes or classes
            entry['num_mask_classes'] = len(named)
            entry['mask_labels'] = {i: classes.index(name) for i, name in enumerate(named, 1) if name in classes}
        return entry
