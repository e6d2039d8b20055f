"""Windows of an image, for test-time augmentation."""
from __future__ import annotations

import numpy as np
from mmdet.registry import TRANSFORMS

from .base import PlainTransform


@TRANSFORMS.register_module()
class CropTile(PlainTransform):
    """Transform that cuts a window out of a loaded image; :class:`MaskTTAModel` puts its predictions back in place.

    The sample becomes that of the window: ``img``, ``img_shape`` and ``ori_shape`` are the window's. Added keys:
    ``tile``, the window (x1, y1, x2, y2) in pixels, and ``whole_shape``, the size (H0, W0) of the image. The transform
    that packs the sample must have them among its ``meta_keys`` (:class:`PackWeakInputs` always packs them).

    Args:
        window (tuple[float]): (x1, y1, x2, y2) as shares of width and height, in [0, 1].

    Raises:
        ValueError: if the window is empty, or not inside the image.
    """

    def __init__(self, window: tuple[float, float, float, float]) -> None:
        x1, y1, x2, y2 = window
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ValueError(f'CropTile: window is (x1, y1, x2, y2) in shares from 0 to 1, got {tuple(window)}')
        self.window = (x1, y1, x2, y2)

    def transform(self, results: dict) -> dict:
        """Cut out the window."""
        height, width = results['img'].shape[:2]
        x1, y1, x2, y2 = (np.array(self.window) * [width, height, width, height]).round().astype(int).tolist()
        x1, y1 = min(x1, width - 1), min(y1, height - 1)
        tile = (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))
        image = np.ascontiguousarray(results['img'][tile[1]:tile[3], tile[0]:tile[2]])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2], tile=tile,
                       whole_shape=(height, width))
        return results
