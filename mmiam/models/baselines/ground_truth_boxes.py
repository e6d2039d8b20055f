"""Ground-truth boxes, for the upper rows of Table 1. They are never used in training."""
from __future__ import annotations

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


@TASK_UTILS.register_module()
class GroundTruthBoxes:
    """Boxes and classes of the sample's ``instances``, each with score 1; the cues are ignored."""

    def __call__(self, cues: InstanceData, size: tuple[int, int], data_sample: DetDataSample,
                 evidence: Tensor) -> InstanceData:
        """Return the boxes of one image.

        Args:
            cues (InstanceData): not used.
            size (tuple[int, int]): not used.
            data_sample (DetDataSample): with ``instances``, the evaluator's ground truth.
            evidence (Tensor): determines the type and device of the result.

        Returns:
            InstanceData: ``labels`` (m,), ``scores`` (m,), ``bboxes`` (m, 4) in pixels of the image.

        Raises:
            ValueError: if the sample has no ground truth.
        """
        if 'instances' not in data_sample:
            raise ValueError(f'{data_sample.get("img_path", "this image")} has no ground truth: put '
                             'dict(type="LoadVOCInstances") into the test pipeline and test_mode=True into the data '
                             'set')
        instances = [one for one in data_sample.instances if not one.get('ignore_flag', 0)]
        return InstanceData(
            labels=torch.tensor([one['bbox_label'] for one in instances], dtype=torch.long, device=evidence.device),
            bboxes=evidence.new_tensor([list(one['bbox']) for one in instances]).reshape(-1, 4),
            scores=evidence.new_ones(len(instances)))
