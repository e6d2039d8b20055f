"""What the method makes of an image, in a row of pictures: image, CAM, PRM, IAM, masks.

Legend: H, W image size; h, w input size of the network; n instances.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmiam.utils.images import to_numpy

from .overlays import overlay_heatmap, overlay_instances

#: columns of :func:`draw_predicted`
COLUMNS = ('image', 'CAM', 'PRM', 'IAM', 'masks')


def merge_maps(maps: Any, normalize: bool) -> np.ndarray:
    """Maximum over n maps (n, h, w), float32 (h, w), each divided by its own maximum if asked; zeros for n = 0."""
    maps = np.maximum(to_numpy(maps).astype(np.float32), 0)
    if len(maps) == 0:
        return np.zeros(maps.shape[-2:], np.float32)
    if normalize:
        maps = maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)
    return maps.max(0)


def draw_predicted(image: np.ndarray, predicted: Any, classes: Sequence[str], min_score: float = 0.) -> dict:
    """Pictures of an image's predictions.

    Args:
        image (ndarray): RGB, uint8, has shape (H, W, 3).
        predicted (InstanceData): ``masks`` (n, H, W), ``labels`` (n,), ``scores`` (n,), and those of ``cams``,
            ``prms``, ``iams`` (n, h, w) that there are (``test_cfg.return_maps``). CAM and PRM are divided by their
            maximum, the IAM is a probability.
        classes (Sequence[str]): class names.
        min_score (float): instances below are in no picture.

    Returns:
        dict[str, ndarray]: name of :data:`COLUMNS` -> RGB picture, uint8 (H, W, 3); maps that are not there are left
        out.
    """
    scores = to_numpy(predicted.scores)
    shown = np.flatnonzero(scores >= min_score)
    labels = to_numpy(predicted.labels)[shown]
    names = [f'{classes[label]} {score:.2f}' for label, score in zip(labels, scores[shown])]
    tiles = dict(image=image)
    for column, field in zip(COLUMNS[1:4], ('cams', 'prms', 'iams')):
        if field in predicted:
            heat = merge_maps(to_numpy(predicted.get(field))[shown], normalize=field != 'iams')
            tiles[column] = overlay_heatmap(image, heat)
    tiles['masks'] = overlay_instances(image, to_numpy(predicted.masks)[shown], names)
    return tiles
