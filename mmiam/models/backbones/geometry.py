"""Where the cells of a feature map lie in the image."""
from __future__ import annotations

from torch import nn


def cell_offset(backbone: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel (y, x) on which the first cell of a backbone's last feature map is centered.

    This is (0, 0) for odd kernels with symmetric padding, which all convolutional backbones of mmdet but EfficientNet
    have. A backbone that pads differently has a method ``cell_offset``, which is given ``size``, the image's
    (height, width).
    """
    own = getattr(backbone, 'cell_offset', None)
    return (0, 0) if own is None else own(size)
