"""F_beta and MAE of saliency maps, as a metric for mmengine's evaluator."""
from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from mmdet.registry import METRICS

from mmiam.utils.images import to_numpy, write_picture
from mmiam.utils.rle import decode_masks

from ..functional.saliency import SaliencyScores, image_saliency, min_max, saliency_scores
from .image_metric import ImageMetric


@METRICS.register_module()
class SaliencyMetric(ImageMetric):
    """F_beta (mean over 256 thresholds, adaptive, maximal) and MAE, for one saliency map per image.

    See :mod:`mmiam.evaluation.functional.saliency` for the definitions. The keys of the result, in [0, 1] as in the
    paper's Table 4, are ``F_mean``, ``F_adaptive``, ``F_max`` and ``MAE``. A table is logged. Without images the
    figures are NaN.

    Args:
        pred_field (str): Field of the data samples that holds the map (H, W), at original size.
        save_dir (str, optional): Folder to write each map into as ``<img_id>.png`` (gray, 0 to 255), the format in
            which saliency maps are exchanged and read by other toolboxes.
        **kwargs: See :class:`ImageMetric`. Saliency data sets have no void pixels, but VOC has.
    """

    def __init__(self, pred_field: str = 'pred_saliency', save_dir: str | None = None,
                 **kwargs) -> None:
        super().__init__(pred_field, **kwargs)
        self.save_dir = save_dir

    def record(self, sample: Mapping) -> tuple[str, SaliencyScores | None, bool]:
        """Return the id of a sample, its scores (None without a map), and whether its mask has foreground.

        The sample has ``img_id``, ``ori_shape``, ``saliency_mask`` (RLE), the map, and ``void_mask`` (RLE or None) if
        void pixels are ignored.
        """
        if sample.get('saliency_mask') is None:
            raise ValueError("no ground truth ('saliency_mask'); put dict(type='LoadSaliencyMask'), or for instances "
                             "dict(type='InstancesToSaliencyMask'), into the test pipeline")
        size = int(sample['ori_shape'][0]), int(sample['ori_shape'][1])
        mask = decode_masks([sample['saliency_mask']], size)[0]
        saliency = sample.get(self.pred_field)
        if saliency is None:
            return str(sample['img_id']), None, bool(mask.any())
        saliency = to_numpy(saliency)
        if saliency.shape != size:
            raise ValueError(f'{self.pred_field} has {saliency.shape} pixels, the original image has {size}')
        void_mask = sample.get('void_mask') if self.void == 'ignore' else None
        valid = None if void_mask is None else ~decode_masks([void_mask], size)[0]
        figures = image_saliency(saliency, mask, valid)
        if self.save_dir is not None:
            write_picture(os.path.join(self.save_dir, f'{sample["img_id"]}.png'),
                          np.round(min_max(saliency) * 255).astype(np.uint8))
        return str(sample['img_id']), figures, bool(mask.any())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the figures of all images; empty if none has a map.

        Raises:
            ValueError: if only some images have one.
        """
        without = [img_id for img_id, figures, _ in results if figures is None]
        if self.nothing_predicted(without, len(results)):
            return {}
        scores = saliency_scores([figures for _, figures, _ in results])
        names = dict(F_mean='F mean over 256 thresholds', F_adaptive='F adaptive',
                     F_max=f'F maximal (at {scores.best_thr:.3f})', MAE='MAE')
        self.log(f'{self.title}: {len(results)} images, void as {self.void}', ('figure', 'value'),
                 *((names[key], f'{value:.4f}') for key, value in scores.metrics().items()))
        empty = sum(not foreground for *_, foreground in results)
        if empty:
            self.log(f'{empty} of {len(results)} masks have no foreground; F_beta of these images is 0 whatever the '
                     'map')
        return scores.metrics()
