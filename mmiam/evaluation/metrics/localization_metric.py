"""Localization error, as a metric for mmengine's evaluator."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import METRICS

from ..functional.class_predictions import find_prediction, load_class_predictions
from ..functional.localization import LocalizationRecord, localization_metrics, localization_record, sweep_boxes
from ..functional.records import percent
from .image_metric import ImageMetric


@METRICS.register_module()
class LocalizationMetric(ImageMetric):
    """Localization of an image's object by one box (protocols: :mod:`mmiam.evaluation.functional.localization`).

    The prediction of an image is its instance with the highest score. Keys of the result, errors in percent of all
    images:

    * For the method's own box: ``loc_err`` (class wrong, or IoU not above ``iou_thr``), ``gt_known_err`` (the box
      alone) and ``cls_err`` (the class alone). An image without any instance counts as an error of box and class; with
      classes from a file, only of the box.
    * For the box of the largest contour of the instance's score map, at the data set's best threshold (MaxBoxAcc of
      the WSOL evaluation): ``wsol_loc_err``, ``wsol_gt_known_err``, and ``wsol_thr``, that threshold in [0, 1]. The
      threshold is chosen on the evaluated images themselves, so these figures do not describe a method that has to
      choose its threshold by itself.

    Args:
        iou_thr (float): IoU that the method's own box must exceed to be correct. Defaults to 0.5.
        class_source (str): Source of the predicted class: ``'instance'``, the label of the instance; the path of a csv
            or json file with another network's predictions (:mod:`mmiam.evaluation.functional.class_predictions`); or
            ``'unknown'`` for class-agnostic boxes, where all figures that need a class are NaN.
        first_label (int): Number of the first class in that file, if it gives classes as numbers.
        map_key (str | None): Key of the score maps (n, h, w) in the predictions, which cover the whole image; None
            skips the sweep over thresholds.
        map_size (int | None): Side to which maps are resized for the sweep, 224 as published; None keeps their size.
        **kwargs: See :class:`ImageMetric`; ``void`` has no effect on boxes.
    """

    def __init__(self, iou_thr: float = .5, class_source: str = 'instance', first_label: int = 0,
                 map_key: str | None = 'score_maps', map_size: int | None = 224, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= iou_thr < 1:
            raise ValueError(f'iou_thr must lie in [0, 1), got {iou_thr}')
        self.iou_thr = iou_thr
        self.class_source = class_source
        self.first_label = first_label
        self.map_key = map_key
        self.map_size = map_size
        self._labels: dict[str, int] | None = None

    def record(self, sample: Mapping) -> LocalizationRecord:
        """Compare prediction and ground truth of a sample with ``img_id``, ``ori_shape``, ``instances``, predictions.
        """
        truths = [one for one in sample.get('instances') or [] if not one.get('ignore_flag', 0)]
        if not truths:
            raise ValueError("no ground truth ('instances' with a box); use a data set that gives boxes, with "
                             'test_mode=True')
        predictions = sample.get(self.pred_field)
        if predictions is None:
            raise ValueError(f'no {self.pred_field}; the model has to predict boxes')
        scores = torch.as_tensor(predictions['scores'])
        best = int(scores.argmax()) if len(scores) else None
        box = None if best is None else torch.as_tensor(predictions['bboxes'])[best].cpu().double().numpy()
        map_boxes = None
        if self.map_key is not None:
            map_boxes = np.zeros((255, 4)) if best is None else self._map_boxes(predictions, best, sample)
        return localization_record(
            self._label(sample, predictions, best), box, np.array([one['bbox_label'] for one in truths]),
            np.array([one['bbox'] for one in truths], np.float64), map_boxes)

    def _label(self, sample: Mapping, predictions: Mapping, best: int | None) -> int | None:
        """Return the predicted class of an image."""
        if self.class_source in ('instance', 'unknown'):
            return None if best is None else int(predictions['labels'][best])
        if self._labels is None:
            self._labels = load_class_predictions(self.class_source, self.dataset_meta['classes'], self.first_label)
        label = find_prediction(self._labels, sample['img_id'], sample.get('img_path', ''))
        if label is None:
            raise ValueError(f'{self.class_source} has no prediction for this image (by id, path or file name)')
        return label

    def _map_boxes(self, predictions: Mapping, best: int, sample: Mapping) -> np.ndarray:
        """Compute the boxes of the sweep in pixels of the original image, (255, 4)."""
        if self.map_key not in predictions:
            raise ValueError(f'{self.pred_field} has no {self.map_key!r} (map_key): ExtentBox gives it; '
                             'map_key=None leaves the sweep out')
        score_map = torch.as_tensor(predictions[self.map_key])[best].float()
        if self.map_size is not None:
            score_map = F.interpolate(score_map[None, None], size=(self.map_size, ) * 2, mode='bilinear',
                                      align_corners=False)[0, 0]
        height, width = (int(side) for side in sample['ori_shape'][:2])
        rows, columns = score_map.shape
        return sweep_boxes(score_map.cpu().numpy()) * np.array([width / columns, height / rows] * 2)

    def compute_metrics(self, results: list[LocalizationRecord]) -> dict[str, float]:
        """Compute the figures of all records and log them as a table."""
        def cell(key: str) -> str:
            return percent(figures[key] / 100) if key in figures else '-'

        figures = localization_metrics(results, self.iou_thr)
        if self.class_source == 'unknown':
            figures.update({key: float('nan') for key in ('loc_err', 'cls_err', 'wsol_loc_err') if key in figures})
        missing = sum(not record.found for record in results)
        rows = [('class and box', cell('loc_err'), cell('wsol_loc_err')),
                ('box (class known)', cell('gt_known_err'), cell('wsol_gt_known_err')),
                ('class', cell('cls_err'), '')]
        if 'wsol_thr' in figures:
            rows.append(('threshold', '', f"{figures['wsol_thr']:.3f}"))
        self.log(f'{self.title}: {len(results)} images, {missing} without any box',
                 ('error, %', "the method's own box", 'largest contour, best threshold (WSOL evaluation)'), *rows)
        return figures
