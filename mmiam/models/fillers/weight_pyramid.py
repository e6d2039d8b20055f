"""R(M, theta_r): the filling weights, predicted from the feature pyramid of the backbone (Sec. 3.2).

Legend: B images, C channels of the filled features, r side of the neighborhood,
N x N encoded size.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class FillingWeightPyramid(BaseModule):
    """Two 1x1 convolutions per level, whose outputs are upsampled and added from deep to shallow.

    A level that is finer than the encoded map on both axes is averaged to its size first; nothing finer is needed.

    Args:
        in_channels (Sequence[int]): channels of the levels, from shallow to deep.
        out_channels (int): C * r * r.
        hidden_channels (int): channels between the two convolutions. Not stated in the
            paper; 256 is the width of the feature pyramid it cites.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, hidden_channels: int = 256, init_cfg=None):
        super().__init__(init_cfg)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, hidden_channels, 1), nn.ReLU(inplace=True),
                          nn.Conv2d(hidden_channels, out_channels, 1)) for channels in in_channels)

    def forward(self, feats: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Compute the unnormalized filling weights, has shape (B, C * r * r, *size)."""
        fused: Any = None
        for level, feat in reversed(list(zip(self.levels, feats))):
            if feat.shape[-2] > size[0] and feat.shape[-1] > size[1]:
                feat = F.adaptive_avg_pool2d(feat, size)
            adapted = level(feat)
            if fused is not None:
                adapted = adapted + F.interpolate(
                    fused, size=adapted.shape[-2:], mode='bilinear', align_corners=False)
            fused = adapted
        if fused.shape[-2:] != tuple(size):
            fused = F.interpolate(fused, size=size, mode='bilinear', align_corners=False)
        return fused
