"""Masks from Instance Activation Maps (Sec. 3.3, post-processing).

Legend: n instances of one image, H0 x W0 original image size, h x w network input size.
"""
from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.ops import conv_crf

from .base import BasePostProcessor
from .regions import keep_cue_region


@MODELS.register_module()
class ConvCRFPostProc(BasePostProcessor):
    """Post-processor that sharpens each Instance Activation Map with a ConvCRF and takes its foreground.

    The score of an instance is the class probability times the mean activation inside its
    mask (not stated in the paper; our choice, because it drops where the map is uncertain).

    Args:
        crf (dict | None): arguments of :func:`mmiam.ops.conv_crf` (kernel_size, blur,
            num_iters, pos_sigma, pos_compat, col_sigma, col_compat, weight, mode).
            None skips the CRF: the foreground is where the sigmoid exceeds ``mask_thr``.
        mask_thr (float): probability above which a pixel is foreground. It also shifts the
            unary term of the CRF, so that its two labels tie at this probability. 0.5 is
            the plain sigmoid.
        max_side (int | None): the CRF runs at the original size of the image, but with its
            longer side limited to this; the result is enlarged. Our choice, because time
            and memory would otherwise be unbounded for a 12-megapixel photograph.
        region (str): what is kept of the foreground: ``'all'``, as in the paper, or ``'cue'``,
            the connected region (8 neighbors) that holds most of the cue. Our option, because
            a decoder that sees the image (``context_channels``) also marks other objects,
            which the cue has not reached (docs/experiments.md).
        others: see :class:`BasePostProcessor`.
    """

    needs_iam = True

    def __init__(self, crf: Mapping | None = MappingProxyType({}), mask_thr: float = 0.5,
                 max_side: int | None = 1024, region: str = 'all', **kwargs):
        super().__init__(**kwargs)
        if region not in ('all', 'cue'):
            raise ValueError(f"region must be 'all' or 'cue', got {region!r}")
        if not 0 < mask_thr < 1:
            raise ValueError(f'mask_thr is a probability between 0 and 1, got {mask_thr}')
        self.crf = None if crf is None else dict(crf)
        unknown = set(self.crf or ()) - set(inspect.signature(conv_crf).parameters)
        if unknown:
            raise ValueError(f'crf has no {sorted(unknown)}; its keys are the arguments of mmiam.ops.conv_crf')
        self.mask_thr = mask_thr
        self.max_side = max_side
        self.region = region

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        size = tuple(image.shape[-2:])
        logits = self.resize_maps(cues.iams, size)
        masks = self.foreground(logits, image)
        if self.region == 'cue':
            masks = keep_cue_region(masks, self.resize_maps(cues.maps, size))
        scores = self.class_probability(cues) * self.mean_inside(logits.sigmoid(), masks)
        return self.finalize(cues, masks, scores)

    def foreground(self, logits: Tensor, image: Tensor) -> Tensor:
        """Compute the foreground of each map.

        Args:
            logits (Tensor): has shape (n, H0, W0).
            image (Tensor): RGB, [0, 255], has shape (3, H0, W0).

        Returns:
            Tensor: bool, has shape (n, H0, W0).
        """
        shifted = logits - math.log(self.mask_thr / (1 - self.mask_thr))
        if self.crf is None or len(logits) == 0:
            return shifted > 0
        size = tuple(image.shape[-2:])
        scale = 1. if self.max_side is None else min(1., self.max_side / max(size))
        if scale < 1:
            small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
            shifted = self.resize_maps(shifted, small)
            image = F.interpolate(image[None], size=small, mode='area')[0]
        unary = torch.stack([torch.zeros_like(shifted), shifted], dim=1)  # logits up to a constant per pixel
        probabilities = conv_crf(unary, image, **self.crf)
        return self.resize_maps(probabilities[:, 1] - probabilities[:, 0], size) > 0
