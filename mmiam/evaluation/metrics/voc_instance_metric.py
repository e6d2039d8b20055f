"""mAP^r and ABO of instance predictions, as a metric for mmengine's evaluator."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmdet.registry import METRICS
from rich.progress import track

from mmiam.utils.images import to_numpy
from mmiam.utils.rle import encode_masks, rle_box, text_rle

from ..dump import save_dump
from ..functional.records import class_table, evaluate_records, ground_truth_part
from .image_metric import ImageMetric


@METRICS.register_module()
class VOCInstanceMetric(ImageMetric):
    """mAP^r at any thresholds and ABO (protocol: :mod:`mmiam.evaluation.functional.voc_instance_ap`).

    The keys of the result, in percent, are ``mAP_25``, ``mAP_50``, ``mAP_75`` (one for each threshold), ``ABO`` (mean
    over classes) and ``ABO_instance``. A table of all classes with the counts behind each figure is logged. Without
    any ground truth the figures are NaN.

    Args:
        iou_thrs (Sequence[float]): IoU thresholds.
        dump (str, optional): Json file to write predictions and ground truth to, for
            ``tools/analysis_tools/eval_dump.py``.
        **kwargs: See :class:`ImageMetric`. With ``void='background'``, predicted void pixels count in the union.
    """

    def __init__(self, iou_thrs: Sequence[float] = (.25, .5, .75), dump: str | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.iou_thrs = tuple(float(thr) for thr in np.atleast_1d(iou_thrs))
        if not self.iou_thrs or not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ValueError(f'iou_thrs must lie in (0, 1], got {iou_thrs}')
        self.dump = dump

    def record(self, sample: Mapping) -> dict:
        """Build the record of a sample, with masks as RLE.

        The sample has ``img_id``, ``ori_shape``, ``instances``, the predictions, and optionally ``void_mask`` and
        ``image_labels``.
        """
        if 'instances' not in sample:
            raise ValueError("no ground truth ('instances'); put dict(type='LoadVOCInstances') into the test "
                             'pipeline and test_mode=True into the data set')
        height, width = (int(v) for v in sample['ori_shape'][:2])
        labels = sample.get('image_labels')
        void_mask = sample.get('void_mask')
        record = dict(
            img_id=sample['img_id'], height=height, width=width,
            image_labels=None if labels is None else [int(v) for v in labels],
            void_mask=None if void_mask is None else text_rle(void_mask),
            ground_truth=ground_truth_part(sample['instances'], (height, width)), predictions=None)
        predictions = sample.get(self.pred_field)
        if predictions is not None:
            record['predictions'] = prediction_part(predictions, (height, width), self.pred_field)
        return record

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the figures of all records.

        Args:
            results (list[dict]): Records of all images.

        Returns:
            dict[str, float]: Figures in percent; empty if no image has predictions.

        Raises:
            ValueError: if only some images have predictions, or a label is out of range.
        """
        without = [record['img_id'] for record in results if record['predictions'] is None]
        if not results or self.nothing_predicted(without, len(results)):
            return {}
        classes = self.dataset_meta['classes']
        if self.dump is not None:
            save_dump(self.dump, results, classes, self.pred_field)
            self.log(f'predictions and ground truth written to {self.dump}')
        progress = track(results, description=f'evaluating {self.title}', transient=True, disable=len(results) < 100)
        scores = evaluate_records(progress, len(classes), self.iou_thrs, self.void)
        if scores.best.size:
            self.log(f'{self.title}: {len(results)} images, void as {self.void}, in percent',
                     *class_table(scores, classes))
        else:
            self.log(f'{self.title}: the {len(results)} images have no ground-truth instance; every figure is NaN')
        return scores.metrics()


def prediction_part(predictions: Mapping, size: tuple[int, int], field: str) -> dict[str, list]:
    """Build the ``predictions`` of a record.

    Args:
        predictions (Mapping): ``masks`` (bool (n, H, W), or a list of RLEs), ``labels``, ``scores`` (n,) and
            optionally ``bboxes`` (n, 4) xyxy.
        size (tuple[int, int]): (H, W) of the original image.
        field (str): Name of the field, for messages.

    Returns:
        dict[str, list]: ``labels``, ``scores``, ``masks`` (RLE counts), ``bboxes``.

    Raises:
        ValueError: if a key is missing, lengths or mask sizes do not fit, or a score is NaN.
    """
    missing = [key for key in ('masks', 'labels', 'scores') if key not in predictions]
    if missing:
        raise ValueError(f'{field} has no {missing}')
    masks, labels, scores = predictions['masks'], to_numpy(predictions['labels']), to_numpy(
        predictions['scores'])
    if not len(masks) == len(labels) == len(scores):
        raise ValueError(f'{field} has {len(masks)} masks, {len(labels)} labels and {len(scores)} scores')
    if np.isnan(scores).any():
        raise ValueError(f'{field} has a score that is NaN')
    rles = [text_rle(mask) for mask in masks] if isinstance(masks, list) or not len(masks) else encode_masks(masks)
    if any(list(rle['size']) != list(size) for rle in rles):
        raise ValueError(f"{field} has masks of {rles[0]['size']} pixels, the original image has "
                         f'{list(size)}; predictions must be at original size')
    boxes = to_numpy(predictions['bboxes']).tolist() if 'bboxes' in predictions else list(map(rle_box, rles))
    return dict(labels=labels.astype(int).tolist(), scores=scores.astype(float).tolist(),
                masks=[rle['counts'] for rle in rles], bboxes=boxes)
