"""R(M, theta_r): filling weights from the feature pyramid of the backbone (Sec. 3.2).

Legend: B images, C channels of the filled features, r side of the neighbourhood,
N x N encoded size.
"""
from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class FillingWeightPyramid(BaseModule):
    """Two 1x1 convolutions a level, upsampled and added from deep to shallow.

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
        """Unnormalised filling weights, has shape (B, C * r * r, *size).

        The last convolution of a level and resizing commute. Where the shallowest level is larger than ``size``, it is
        resized before, which saves most of the products. Channels-last memory, because resizing takes a fifth of the
        time in it on a CPU.
        """
        fused = None
        for depth, (level, feat) in reversed(list(enumerate(zip(self.levels, feats)))):
            hidden = level[:-1](feat.contiguous(memory_format=torch.channels_last))
            if fused is not None:
                fused = _resize(fused, hidden.shape[-2:])
            if depth == 0 and prod(size) < prod(hidden.shape[-2:]):
                hidden = _resize(hidden, size)
                fused = None if fused is None else _resize(fused, size)
            adapted = level[-1](hidden)
            fused = adapted if fused is None else adapted + fused
        return _resize(fused, size)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)
