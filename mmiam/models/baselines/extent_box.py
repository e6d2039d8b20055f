"""One box an image: the extent of a map above its mean (Sec. 4.3).

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
    """The box of the pixels at which a cue's map reaches its mean.

    The paper says "a mean value threshold" (Sec. 4.3); that the box is the extent of all such pixels, not of the
    largest component, is how the authors' earlier public code on localization does it.

    Args:
        map_key (str): the cue's map: ``'iams'``, or for comparison ``'prms'`` or ``'cams'``.
        activation (str): what is done to the logits of ``'iams'``: ``'sigmoid'`` (our choice; the paper does not say)
            or ``'relu'`` (as it does for saliency), whose mean is lower where most of an image is surely background.
        region (str): ``'all'`` pixels above it, or the ``'largest'`` connected component (8 neighbors) alone.
        classifier (dict, optional): :class:`FrozenClassifier` that says the class from the whole image; None keeps the
            cue's label.
        others: of the score, see :class:`BasePostProcessor`.

    An image has one box at most, that of the cue with the highest peak (our choice, for localization asks for one).
    Predictions have ``score_maps`` (m, h', w') besides, for the threshold sweep of :class:`LocalizationMetric`.
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
        cues = cues[cues.peak_scores.argmax()[None]] if len(cues) else cues[:]  # not the caller's
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
        """Pixels at or above the threshold: (n, H0, W0) -> bool (n, H0, W0)."""
        masks = maps >= maps.mean((1, 2), keepdim=True)
        return masks if self.region == 'all' else keep_cue_region(masks, torch.ones_like(maps))
