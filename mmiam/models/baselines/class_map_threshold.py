"""The CAM baseline: connected regions of a thresholded class response map."""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from scipy import ndimage
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor


@MODELS.register_module()
class ClassMapThreshold(BasePostProcessor):
    """One instance for each connected region of a class response map above a threshold.

    Class Activation Maps know classes, not instances; connected regions are the usual
    way to make instances of them (Zhou et al., CVPR 2016, threshold at a fraction of
    the maximum).

    Args:
        threshold (float): fraction of the map's maximum. Defaults to 0.2, their value.
        others: see :class:`BasePostProcessor`.
    """

    def __init__(self, threshold: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        size = tuple(image.shape[-2:])
        index, masks, quality = [], [], []
        for label in cues.labels.unique().tolist():
            first = int((cues.labels == label).nonzero()[0])  # all cues of a class share its map
            response = self.resize_maps(cues.cams[first][None], size)[0].clamp(min=0)
            response = response / response.max().clamp(min=torch.finfo(response.dtype).tiny)
            regions, count = ndimage.label((response > self.threshold).cpu().numpy())
            regions = torch.as_tensor(regions, device=image.device)
            for region in range(1, count + 1):
                index.append(first)
                masks.append(regions == region)
                quality.append(response[masks[-1]].mean())
        if not index:
            return self.finalize(cues[:0], image.new_zeros((0, *size), dtype=torch.bool), image.new_zeros(0))
        cues = cues[torch.tensor(index, device=cues.labels.device)]
        return self.finalize(cues, torch.stack(masks), self.class_probability(cues) * torch.stack(quality))
