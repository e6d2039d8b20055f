"""Saliency maps made from the maps of all instances (Sec. 4.3).

Legend: n instances of one image, h x w network input size, H0 x W0 original image size.

"We obtain saliency detection results after performing ReLU on IAMs." The paper does not state how the instances of an
image are merged into one map, or how that map is scaled to [0, 1]; our choice is the maximum over instances, stretched
to [0, 1]. The logits of a confident map keep rising toward the inside of the object, so many of its pixels lie far
below the maximum. A sigmoid in place of the ReLU flattens the map there, which raises the mean over thresholds; it is
offered as an option.
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor

ACTIVATIONS = ('relu', 'sigmoid')


@MODELS.register_module()
class SaliencyMap(BasePostProcessor):
    """Saliency map of an image, written into its sample.

    The field is a float (H0, W0) in [0, 1], all zeros if no instance was found. No instances are returned.

    Args:
        map_key (str): 'iams' (logits), or for comparison 'prms' or 'cams'. Each Peak Response Map is divided by its
            maximum before the maximum over instances is taken: the maps sum to one, so the most compact one would
            otherwise win. The other two are logits, which are comparable between instances.
        field (str): name of the field.
        activation (str): 'relu', as in the paper, or 'sigmoid', for logits only.
        by_score (bool): multiply the map of each instance by the probability of its class before the maximum is taken,
            so that a doubtful instance is less salient than a certain one. Not in the paper; defaults to False.
        others: how that probability is computed, see :class:`BasePostProcessor`.
    """

    def __init__(self, map_key: str = 'iams', field: str = 'pred_saliency', activation: str = 'relu',
                 by_score: bool = False, **kwargs):
        super().__init__(**kwargs)
        logits = map_key in ('iams', 'cams')
        if activation not in ACTIVATIONS or (activation == 'sigmoid' and not logits):
            raise ValueError(f'activation must be one of {ACTIVATIONS}, and "relu" for what are no logits; got '
                             f'{activation!r} for {map_key}')
        self.map_key = map_key
        self.activation = activation
        self.by_score = by_score
        self.field = field
        self.normalize = not logits
        self.needs_iam = map_key == 'iams'

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """Set ``field`` of ``data_sample``; otherwise the same as :meth:`BasePostProcessor.forward`.

        Raises:
            ValueError: if the cues have no such maps.
        """
        size = tuple(image.shape[-2:])
        if self.map_key not in cues:
            raise ValueError(f"{data_sample.get('img_path', 'a sample')}: its cues have no {self.map_key!r}; they have "
                             f'{sorted(cues.keys())}')
        maps = self.resize_maps(cues.get(self.map_key), size)
        weights = self.class_probability(cues).to(maps) if self.by_score else None
        data_sample.set_field(merge_saliency(maps, self.normalize, self.activation, weights), self.field)
        return self.no_instances(cues, image)


def merge_saliency(maps: Tensor, normalize: bool = False, activation: str = 'relu',
                 weights: Tensor | None = None) -> Tensor:
    """Merge maps: activate them, take the maximum over instances, and stretch the result to [0, 1].

    Args:
        maps (Tensor): has shape (n, H, W); n may be 0.
        normalize (bool): divide each map by its maximum first.
        activation (str): 'relu' or 'sigmoid'.
        weights (Tensor, optional): factor that each map is multiplied by before the maximum is taken, in [0, 1], has
            shape (n, ).

    Returns:
        Tensor: has shape (H, W); all zeros if all values are equal.
    """
    if len(maps) == 0:
        return maps.new_zeros(maps.shape[-2:])
    maps = maps.sigmoid() if activation == 'sigmoid' else maps.relu()
    if normalize:
        maps = maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    if weights is not None:
        maps = maps * weights[:, None, None]
    highest = maps.amax(0)
    low, high = highest.min(), highest.max()
    return (highest - low) / (high - low) if high > low else torch.zeros_like(highest)
