"""The output of the method for an image as a row of pictures: image, CAM, PRM, IAM, masks.

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
    """Take the maximum over n maps (n, h, w), clipped at zero: float32 (h, w), zeros for n = 0.

    With ``normalize``, each map is divided by its own maximum first.
    """
    maps = np.maximum(to_numpy(maps).astype(np.float32), 0)
    if len(maps) == 0:
        return np.zeros(maps.shape[-2:], np.float32)
    if normalize:
        maps = maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)
    return maps.max(0)


def draw_predicted(image: np.ndarray, predicted: Any, classes: Sequence[str], min_score: float = 0.) -> dict:
    """Draw pictures of an image's predictions.

    Args:
        image (ndarray): RGB, uint8, has shape (H, W, 3).
        predicted (InstanceData): ``masks`` (n, H, W), ``labels`` (n,), ``scores`` (n,), and whichever of ``cams``,
            ``prms`` and ``iams`` (n, h, w) exist (``test_cfg.return_maps``). CAMs and PRMs are divided by their
            maximum; IAMs are probabilities and drawn as they are.
        classes (Sequence[str]): class names.
        min_score (float): instances with a lower score are not drawn.

    Returns:
        dict[str, ndarray]: names from :data:`COLUMNS` -> RGB pictures, uint8 (H, W, 3), without those whose maps do
        not exist.
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
