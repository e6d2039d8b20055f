"""Predictions as COCO json: images, categories and annotations with RLE masks and scores."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.structures import InstanceData

from mmiam.utils.files import write_json
from mmiam.utils.rle import decode_masks, encode_masks, rle_areas


class CocoResults:
    """Collection of the predictions for several images, to be written as one COCO file.

    Args:
        classes (Sequence[str]): category names.
        category_ids (Sequence, optional): their ids, by default 1, 2, ...
    """

    def __init__(self, classes: Sequence[str], category_ids: Sequence | None = None):
        self.category_ids = list(category_ids or range(1, len(classes) + 1))
        self.content = dict(
            images=[], annotations=[],
            categories=[dict(id=key, name=name) for key, name in zip(self.category_ids, classes)])

    def add(self, file_name: str, size: Sequence[int], instances: InstanceData) -> None:
        """Add an image of ``size`` (H, W) and its ``masks`` (n, H, W), ``bboxes``, ``labels`` and ``scores``.

        Boxes become (x, y, width, height) in pixels of the original image; an area is the number of pixels of the mask.
        """
        image_id, (height, width) = len(self.content['images']) + 1, map(int, size[:2])
        self.content['images'].append(dict(id=image_id, file_name=file_name, height=height, width=width))
        instances = instances.cpu()
        rles = encode_masks(instances.masks)
        boxes = instances.bboxes.numpy().astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        for rle, box, label, score, area in zip(rles, np.round(boxes, 2).tolist(), instances.labels.tolist(),
                                                instances.scores.tolist(), rle_areas(rles).tolist()):
            self.content['annotations'].append(dict(
                id=len(self.content['annotations']) + 1, image_id=image_id, category_id=self.category_ids[label],
                segmentation=rle, bbox=box, area=area, iscrowd=0, score=round(score, 6)))

    def write(self, path: str) -> None:
        """Write the file under a temporary name and rename it."""
        write_json(path, self.content)


def read_images(content: dict) -> Iterator[tuple[dict, list[dict], np.ndarray]]:
    """Yield the entry of each image of a COCO file, its annotations, and their masks, bool (n, H, W)."""
    annotations: dict = {image['id']: [] for image in content['images']}
    for one in content['annotations']:
        annotations[one['image_id']].append(one)
    for image in content['images']:
        found = annotations[image['id']]
        yield image, found, decode_masks([one['segmentation'] for one in found], (image['height'], image['width']))
