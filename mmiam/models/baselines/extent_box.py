"""One box per image: the extent of a map above its mean (Sec. 4.3).

Legend: n cues of one image, H0 x W0 original image size, h x w network input size.
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor
from mmiam.models.postprocessors.regions import keep_cue_region


@MODELS.register_module()
class ExtentBox(BasePostProcessor):
    """The bounding box of all pixels at which a cue's map reaches its mean.

    The paper says "a mean value threshold" (Sec. 4.3). That the box spans all such pixels, not only the largest
    component, follows the authors' earlier public code on localization.

    An image gets at most one box, that of the cue with the highest peak (our choice, because localization asks for
    one). Predictions also carry ``score_maps`` (m, h', w'), for the threshold sweep of :class:`LocalizationMetric`.

    Args:
        map_key (str): which map of the cue: ``'iams'``, or for comparison ``'prms'`` or ``'cams'``.
        activation (str): applied to the logits of ``'iams'``: ``'sigmoid'`` (our choice; the paper does not say) or
            ``'relu'`` (which it uses for saliency), whose mean is lower where most of an image is clearly background.
        region (str): ``'all'`` pixels at or above the mean, or the ``'largest'`` connected component (8 neighbors)
            alone.
        classifier (dict, optional): :class:`FrozenClassifier` that predicts the class from the whole image; None keeps
            the cue's label.
        others: how boxes are scored, see :class:`BasePostProcessor`.
    """

    def __init__(self, map_key: str = 'iams', activation: str = 'sigmoid', region: str = 'all',
                 classifier: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if activation not in ('sigmoid', 'relu'):
            raise ValueError(f'activation must be "sigmoid" or "relu", got {activation!r}')
        if region not in ('all', 'largest'):
            raise ValueError(f'region must be "all" or "largest", got {region!r}')
        self.map_key = map_key
        self.needs_iam = map_key == 'iams'
        self.activation = getattr(torch, activation)
        self.region = region
        self.classifier = MODELS.build(classifier) if classifier else None

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        cues = cues[cues.peak_scores.argmax()[None]] if len(cues) else cues[:]  # a copy, not the caller's own
        maps = cues.get(self.map_key)
        if maps is None:
            raise ValueError(f'ExtentBox(map_key={self.map_key!r}): the cues have {", ".join(sorted(cues.keys()))}; '
                             'the model needs a filler for Instance Activation Maps (iams)')
        cues.score_maps = self.activation(maps) if self.map_key == 'iams' else maps
        if self.classifier is not None and len(cues):
            cues.labels = torch.full_like(cues.labels, int(self.classifier.classify(image[None])[0].argmax()))
        masks = self.foreground(self.resize_maps(cues.score_maps, tuple(image.shape[-2:])))
        return self.finalize(cues, masks, self.class_probability(cues))

    def foreground(self, maps: Tensor) -> Tensor:
        """Mark the pixels at or above the threshold: (n, H0, W0) -> bool (n, H0, W0)."""
        masks = maps >= maps.mean((1, 2), keepdim=True)
        return masks if self.region == 'all' else keep_cue_region(masks, torch.ones_like(maps))
