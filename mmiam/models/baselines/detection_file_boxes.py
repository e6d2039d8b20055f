"""Boxes that another method wrote into a file (MELM in Table 1, the other methods of Table 3).

The file is JSON and holds one object with a list::

    {"detections": [{"image_id": "2007_000033", "class": "aeroplane", "score": 0.93, "bbox": [8, 107, 500, 263]}, …]}

``image_id`` is the data set's id of the image (VOC: the file name without suffix; CUB: the number in images.txt),
``class`` is a class name of the data set, ``score`` any number (higher is better), and ``bbox`` is [x1, y1, x2, y2] in
pixels of the original image, counted from 0, with x2 and y2 exclusive. Other keys are ignored, and so is ``class`` for
boxes without classes. Detections may come in any order; an image without detections is simply absent.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.utils.files import is_number, read_json

#: label, score, x1, y1, x2, y2
Detection = tuple[int, float, float, float, float, float]


@TASK_UTILS.register_module()
class DetectionFileBoxes:
    """Detections from a JSON file, which is read at the first image.

    Scores are passed on unchanged. Boxes are clipped to the image, and those outside it are dropped.

    Args:
        path (str): the file; its format is described above.
        classes (Sequence[str] | None): class names in the order of the data set's labels; None for boxes
            without classes, whose label is 0.
        min_score (float | None): detections below this score are dropped. None keeps all.
    """

    def __init__(self, path: str, classes: Sequence[str] | None, min_score: float | None = None) -> None:
        self.path = path
        self.classes = None if classes is None else tuple(classes)
        self.min_score = min_score
        self._detections: dict[str, list[Detection]] | None = None

    def __call__(self, cues: InstanceData, size: tuple[int, int], data_sample: DetDataSample,
                 evidence: Tensor) -> InstanceData:
        """Return the boxes of one image.

        Args:
            cues (InstanceData): not used.
            size (tuple[int, int]): (H0, W0).
            data_sample (DetDataSample): with ``img_id``.
            evidence (Tensor): determines the type and device of the result.

        Returns:
            InstanceData: ``labels`` (m,), ``scores`` (m,), ``bboxes`` (m, 4) in pixels of the image.

        Raises:
            FileNotFoundError, ValueError: see :func:`load_detections`.
        """
        if self._detections is None:
            self._detections = load_detections(self.path, self.classes)
        found = self._detections.get(str(data_sample.img_id), [])
        table = torch.tensor(found, dtype=torch.float64).reshape(-1, 6)
        boxes = table[:, 2:].clone()
        boxes[:, 0::2] = boxes[:, 0::2].clamp(0, size[1])
        boxes[:, 1::2] = boxes[:, 1::2].clamp(0, size[0])
        keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if self.min_score is not None:
            keep &= table[:, 1] >= self.min_score
        return InstanceData(labels=table[keep, 0].long().to(evidence.device), bboxes=boxes[keep].to(evidence),
                            scores=table[keep, 1].to(evidence))


def load_detections(path: str, classes: Sequence[str] | None) -> dict[str, list[Detection]]:
    """Read a file of detections in the format that this module describes.

    Args:
        path (str): the JSON file.
        classes (Sequence[str] | None): class names in the order of labels; None for boxes without classes.

    Returns:
        dict[str, list[Detection]]: image id -> detections as (label, score, x1, y1, x2, y2), in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is malformed; names the file, the detection at fault and what is expected.
    """
    try:
        content = read_json(path, 'write it again, see docs/table1.md')
    except FileNotFoundError:
        raise FileNotFoundError(f'no file of detections {path}; docs/table1.md describes how to write it, '
                                'docs/cues.md for boxes without class') from None
    entries = content.get('detections') if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f'{path} must hold an object {{"detections": [...]}}, see docs/table1.md')
    labels = None if classes is None else {name: label for label, name in enumerate(classes)}
    found: dict[str, list[Detection]] = {}
    for position, entry in enumerate(entries):
        try:
            found.setdefault(str(entry['image_id']), []).append(_detection(entry, labels))
        except KeyError as error:
            raise ValueError(f'{path}: detection {position} lacks the key {error}') from None
        except (TypeError, ValueError) as error:
            raise ValueError(f'{path}: detection {position}: {error}') from None
    return found


def _detection(entry: dict, labels: dict[str, int] | None) -> Detection:
    """Check one entry of the file and convert it."""
    name = '' if labels is None else entry['class']
    score, box = entry['score'], entry['bbox']
    if labels is not None and name not in labels:
        raise ValueError(f'class {name!r} is none of {tuple(labels)}')
    numbers = [score, *box]
    if len(numbers) != 5 or not all(map(is_number, numbers)):
        raise ValueError(f'score must be a number and bbox four numbers, got {score!r} and {box!r}')
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f'bbox must be [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {box!r}')
    x1, y1, x2, y2 = map(float, box)
    return 0 if labels is None else labels[name], float(score), x1, y1, x2, y2
