"""Conversion of the network's input back to the image.

Legend: H x W network input size, H0 x W0 original image size.
"""
from __future__ import annotations

import torch.nn.functional as F
from mmdet.structures import DetDataSample
from torch import Tensor, nn


def to_rgb(images: Tensor, preprocessor: nn.Module) -> Tensor:
    """Undo the preprocessor's normalization: RGB in [0, 255], has the shape of ``images``, (..., 3, H, W)."""
    if getattr(preprocessor, '_enable_normalize', False):
        images = images * preprocessor.std + preprocessor.mean
    # images are loaded as BGR, and a preprocessor without channel conversion leaves them so
    return images if getattr(preprocessor, '_channel_conversion', True) else images.flip(-3)


def restore_image(image: Tensor, sample: DetDataSample, preprocessor: nn.Module, size: tuple[int, int]) -> Tensor:
    """Undo padding, normalization and resizing: (3, H, W) -> RGB in [0, 255], (3, H0, W0) for ``size`` = (H0, W0)."""
    height, width = sample.img_shape[:2]
    rgb = to_rgb(image[:, :height, :width].float(), preprocessor)
    return F.interpolate(rgb[None], size=size, mode='bilinear', align_corners=False, antialias=True)[0].clamp(0, 255)
