"""Where the cells of a feature map lie in the image."""
from __future__ import annotations

from torch import nn


def cell_offset(backbone: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Pixel (y, x) on which the first cell of a backbone's last feature map is centered, for images of ``size``.

    (0, 0) with odd kernels and symmetric padding, as all of mmdet's convolutional backbones have but EfficientNet;
    a backbone that pads otherwise has a method ``cell_offset``.
    """
    own = getattr(backbone, 'cell_offset', None)
    return (0, 0) if own is None else own(size)
