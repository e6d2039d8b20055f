"""Names of VOC's twenty classes, and colors (RGB, 0..255) for them and for other classes."""
from __future__ import annotations

import colorsys
from collections.abc import Sequence

from mmdet.datasets import VOCDataset

VOC_CLASSES = VOCDataset.METAINFO['classes']


def index_color(index: int) -> tuple[int, ...]:
    """Compute the color of an index in VOC's mask files: its bits 3j, 3j+1, 3j+2 are bit 7-j of R, G, B."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return tuple(channels)


VOC_PALETTE = [index_color(index) for index in range(1, 21)]


def class_palette(classes: Sequence[str]) -> list[tuple[int, ...]]:
    """Choose VOC's colors for VOC's classes, and evenly spaced hues for others."""
    colors = []
    for position, name in enumerate(classes):
        if name in VOC_CLASSES:
            colors.append(VOC_PALETTE[VOC_CLASSES.index(name)])
        else:
            hue = position / len(classes)
            colors.append(tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, .75, .9)))
    return colors
