"""The small encoder E and decoder D around the filling process (Sec. 3.2).

Legend: I instances, C channels, H x W image size, N x N encoded size (H / 4).
"""
from mmengine.model import BaseModule
from torch import Tensor, nn


def conv_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3x3 convolution, batch norm and ReLU that keep the size."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True)
    ]


class CueEncoder(BaseModule):
    """E(., theta_e): two Conv-BatchNorm-ReLU-MaxPooling stacks, (I, 1, H, W) -> (I, C, N, N)."""

    def __init__(self, channels: int, init_cfg=None):
        super().__init__(init_cfg)
        self.layers = nn.Sequential(
            *conv_bn_relu(1, channels), nn.MaxPool2d(2, ceil_mode=True),
            *conv_bn_relu(channels, channels), nn.MaxPool2d(2, ceil_mode=True))

    def forward(self, cues: Tensor) -> Tensor:
        return self.layers(cues)


class MapDecoder(BaseModule):
    """D(., theta_d): the encoder's mirror, (I, C, N, N) -> one logit a pixel (I, 1, 4N, 4N).

    The last convolution gives a logit without batch norm, because both a sigmoid
    (masks) and a ReLU (saliency, Sec. 4.3) are applied to the map later on.
    """

    def __init__(self, channels: int, init_cfg=None):
        super().__init__(init_cfg)
        self.layers = nn.Sequential(
            nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            *conv_bn_relu(channels, channels),
            nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            *conv_bn_relu(channels, channels),
            nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)
