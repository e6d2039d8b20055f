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
from mmiam.models.postprocessors.regions import largest_component

SOURCES = ('iams', 'prms', 'cams')


@MODELS.register_module()
class ExtentBox(BasePostProcessor):
    """The box of the pixels at which a cue's map reaches its mean.

    The paper says "a mean value threshold" (Sec. 4.3); that the box is the extent of all such pixels, not of the
    largest component, is how the authors' earlier public code on localisation does it.

    Args:
        source (str): the map: ``'iams'``, ``'prms'`` or ``'cams'`` (for comparison).
        activation (str): what is done to the logits of ``'iams'``: ``'sigmoid'`` (our choice; the paper does not say)
            or ``'relu'`` (as it does for saliency), whose mean is lower where most of an image is surely background.
        ratio (float): the threshold in units of the map's mean over the image. 1.
        region (str): ``'all'`` pixels above it, or the ``'largest'`` connected component (8 neighbours) alone.
        top_only (bool): keep the cue with the highest peak alone (our choice: localisation asks for one box).
            Otherwise all cues, by ``nms_iou``.
        classifier (dict, optional): :class:`FrozenClassifier` that says the class from the whole image; None keeps the
            cue's label.
        nms_iou, others: see :class:`BasePostProcessor`.

    Predictions have ``maps`` (m, h', w') besides, the score maps, for the threshold sweep of
    :class:`LocalizationMetric`.
    """

    def __init__(self, source: str = 'iams', activation: str = 'sigmoid', ratio: float = 1., region: str = 'all',
                 top_only: bool = True, classifier: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if source not in SOURCES:
            raise ValueError(f'source must be one of {SOURCES}, got {source!r}')
        if activation not in ('sigmoid', 'relu'):
            raise ValueError(f'activation must be "sigmoid" or "relu", got {activation!r}')
        if region not in ('all', 'largest'):
            raise ValueError(f'region must be "all" or "largest", got {region!r}')
        self.source = source
        self.needs_iam = source == 'iams'
        self.activation = getattr(torch, activation)
        self.ratio = ratio
        self.region = region
        self.top_only = top_only
        self.classifier = MODELS.build(classifier) if classifier else None

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        if self.top_only and len(cues):
            cues = cues[cues.peak_scores.argmax()[None]]
        cues = cues[:]  # not the caller's
        maps = cues.get(self.source)
        if maps is None:
            raise ValueError(f'ExtentBox(source={self.source!r}): the cues have no {self.source}; the model needs a '
                             'filler for Instance Activation Maps')
        cues.maps = self.activation(maps) if self.source == 'iams' else maps
        if self.classifier is not None and len(cues):
            cues.labels = torch.full_like(cues.labels, int(self.classifier.classify(image[None])[0].argmax()))
        masks = self.foreground(self.resize_maps(cues.maps, tuple(image.shape[-2:])))
        return self.finalize(cues, masks, self.class_probability(cues))

    def foreground(self, maps: Tensor) -> Tensor:
        """Pixels at or above the threshold: (n, H0, W0) -> bool (n, H0, W0)."""
        masks = maps >= self.ratio * maps.mean((1, 2), keepdim=True)
        if self.region == 'all':
            return masks
        return torch.stack([largest_component(mask) for mask in masks]) if len(masks) else masks
