"""Localization on PASCAL VOC: images with a single object, and its box; only for evaluation."""
from __future__ import annotations

from mmdet.registry import DATASETS
from mmengine.logging import print_log

from .image_labels import object_box, read_objects
from .voc_instance import VOCInstanceDataset


@DATASETS.register_module()
class VOCSingleObjectDataset(VOCInstanceDataset):
    """The images of a list whose annotation has exactly one object, of one of the data set's classes, with its box.

    A sample is that of :class:`VOCInstanceDataset`, plus ``instances``: one dict with ``bbox`` [x1, y1, x2, y2] in
    pixels of the original image (from 0, x2 and y2 exclusive; the xml counts from 1 and includes the last pixel),
    ``bbox_label`` and ``ignore_flag`` 0. The test pipeline contains no ``LoadVOCInstances``.

    Args:
        test_mode (bool): must be True, since boxes are read.
        **kwargs: see :class:`VOCInstanceDataset`.

    Raises:
        ValueError: if ``test_mode`` is False, an annotation has no valid box, or no image is left.
    """

    def __init__(self, *args, test_mode: bool = True, **kwargs) -> None:
        if not test_mode:
            raise ValueError('VOCSingleObjectDataset reads boxes: it is for evaluation only (test_mode=True)')
        super().__init__(*args, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Make the entries of the images with a single object, and log how many there are."""
        entries = super().load_data_list()
        kept = []
        for entry in entries:
            path = self._path('ann', entry['img_id'], '.xml')
            objects = read_objects(path)
            if len(objects) == 1 and len(entry['image_labels']) == 1:
                box = dict(bbox=object_box(objects[0][1], path), bbox_label=entry['image_labels'][0], ignore_flag=0)
                kept.append(dict(entry, instances=[box]))
        if not kept:
            raise ValueError(f"{self.ann_file}: none of the {len(entries)} images has a single object of the classes "
                             f"{self._metainfo['classes']}")
        print_log(f'{self.ann_file}: {len(kept)} of {len(entries)} images have a single object', logger='current')
        return kept
