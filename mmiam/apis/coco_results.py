"""Predictions as COCO json: images, categories and annotations with RLE masks and scores."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmdet.structures import DetDataSample

from mmiam.utils.files import write_json
from mmiam.utils.rle import encode_masks, rle_areas


class CocoResults:
    """Collects predictions of images and writes them as one COCO file.

    Args:
        classes (Sequence[str]): category names.
        category_ids (Sequence, optional): their ids; 1, 2, ... by default.
    """

    def __init__(self, classes: Sequence[str], category_ids: Sequence | None = None):
        self.category_ids = list(category_ids or range(1, len(classes) + 1))
        self.content = dict(
            images=[], annotations=[],
            categories=[dict(id=key, name=name) for key, name in zip(self.category_ids, classes)])

    def add(self, file_name: str, sample: DetDataSample, score_thr: float = 0.) -> int:
        """Add the predictions of an image with at least ``score_thr``; returns how many there were.

        Boxes are (x, y, width, height) in pixels of the original image, areas pixels of the mask.
        """
        height, width = (int(side) for side in sample.ori_shape[:2])
        image_id = len(self.content['images']) + 1
        self.content['images'].append(dict(id=image_id, file_name=file_name, height=height, width=width))
        instances = sample.pred_instances[sample.pred_instances.scores >= score_thr].cpu()
        rles = encode_masks(instances.masks)
        boxes = instances.bboxes.numpy().astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        for rle, box, label, score, area in zip(rles, np.round(boxes, 2).tolist(), instances.labels.tolist(),
                                                instances.scores.tolist(), rle_areas(rles).tolist()):
            self.content['annotations'].append(dict(
                id=len(self.content['annotations']) + 1, image_id=image_id, category_id=self.category_ids[label],
                segmentation=rle, bbox=box, area=area, iscrowd=0, score=round(score, 6)))
        return len(rles)

    def write(self, path: str) -> None:
        """Write the file under a temporary name and rename it."""
        write_json(path, self.content)
