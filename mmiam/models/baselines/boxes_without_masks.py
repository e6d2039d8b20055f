"""Boxes without masks, for localization by another method (Table 3)."""
from __future__ import annotations

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor


@MODELS.register_module()
class BoxesWithoutMasks(BasePostProcessor):
    """Boxes from a file or from class maps, without masks and unrounded.

    Duplicates are kept, since there are no masks to compare.

    Args:
        boxes (dict): source of the boxes, as in :class:`BoxToMask`.
        class_evidence, temperature: how boxes from class maps are scored, see :class:`BasePostProcessor`.
    """

    def __init__(self, boxes: dict, class_evidence: str = 'class', temperature: float = 1., init_cfg=None):
        super().__init__(None, class_evidence=class_evidence, temperature=temperature, init_cfg=init_cfg)
        self.boxes = TASK_UTILS.build(boxes)

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """Return the boxes of one image.

        Args:
            cues, image, data_sample: see :meth:`BasePostProcessor.forward`.

        Returns:
            InstanceData: ``labels`` (m, ), ``bboxes`` (m, 4) as (x1, y1, x2, y2) in pixels of the original image,
            ``scores`` (m, ), best first.
        """
        found = self.boxes(cues, tuple(image.shape[-2:]), data_sample, self.class_probability(cues))
        return found[torch.argsort(found.scores, descending=True, stable=True)]
