"""Rows of Tables 1, 3 and 4 that need no network: boxes or maps come from the ground truth or another method.

Legend: B images, H0 x W0 original image size.
"""
from __future__ import annotations

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.detectors.iam_net import merge_known


@MODELS.register_module()
class PrecomputedPredictions(BaseDetector):
    """Post-processors applied to images alone, for predictions from the ground truth or from another method's files.

    Images must come at their original size and without normalization: no Resize in the test pipeline.

    Args:
        post_processor (dict): one that needs no cues: :class:`SavedSaliencyMap`, or :class:`BoxToMask` or
            :class:`BoxesWithoutMasks` with boxes that need none.
        test_cfg (dict, optional): ``baselines`` (dict[str, dict]), further post-processors whose predictions are added
            as ``pred_instances_<name>``, as in :class:`IAMNet`.
        data_preprocessor (dict, optional): ``DetDataPreprocessor`` with bgr_to_rgb=True.
    """

    def __init__(self, post_processor, test_cfg=None, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.post_processor = MODELS.build(post_processor)
        test_cfg = merge_known(dict(baselines={}), test_cfg, 'PrecomputedPredictions: test_cfg')
        self.baselines = torch.nn.ModuleDict(
            {name: MODELS.build(config) for name, config in test_cfg['baselines'].items()})

    def predict(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> list[DetDataSample]:
        """Set ``pred_instances`` of each sample.

        Raises:
            ValueError: if an image is not at its original size.
        """
        for image, sample in zip(batch_inputs, batch_data_samples):
            height, width = sample.img_shape[:2]
            if (height, width) != tuple(sample.ori_shape[:2]):
                raise ValueError(f'{sample.get("img_path", "an image")} came as {(height, width)} pixels and has '
                                 f'{tuple(sample.ori_shape[:2])}: no Resize in the test pipeline of '
                                 'PrecomputedPredictions')
            image, nothing = image[:, :height, :width], self.no_cues(image)
            sample.pred_instances = self.post_processor(nothing, image, sample)
            for name, baseline in self.baselines.items():
                sample.set_field(baseline(nothing, image, sample), f'pred_instances_{name}')
        return batch_data_samples

    @staticmethod
    def no_cues(image: Tensor) -> InstanceData:
        """Return the cues of an image in which nothing was found."""
        empty = image.new_zeros(0)
        return InstanceData(labels=empty.long(), class_scores=empty, peak_scores=empty,
                            maps=image.new_zeros((0, *image.shape[-2:])), cams=image.new_zeros((0, *image.shape[-2:])))

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict:
        """Raise a RuntimeError: there is nothing to train."""
        raise RuntimeError('PrecomputedPredictions has no parameters: test it, there is nothing to train')

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor]:
        """Return the images themselves."""
        return (batch_inputs, )

    def _forward(self, batch_inputs: Tensor, batch_data_samples=None) -> tuple[Tensor]:
        return self.extract_feat(batch_inputs)
