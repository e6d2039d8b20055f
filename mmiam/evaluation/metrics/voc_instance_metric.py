"""mAP^r and ABO of instance predictions, as an evaluator's metric."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.utils.rle import encode_masks, text_rle

from ..dump import save_dump
from ..functional.records import class_table, evaluate_records, ground_truth_part


@METRICS.register_module()
class VOCInstanceMetric(BaseMetric):
    """mAP^r at any thresholds and ABO (protocol: :mod:`mmiam.evaluation.functional.voc_instance_ap`).

    Keys of the result, in percent: ``mAP_25``, ``mAP_50``, ``mAP_75`` (one for each threshold), ``ABO`` (mean
    over classes), ``ABO_instance``. A table by class with the counts behind each figure is logged. Without any
    ground truth the figures are NaN.

    While no sample has predictions of the kind (stage 1 trains the classifier only), the result is empty
    and a line says so once. That some images have them and others not is an error.

    Args:
        iou_thrs (Sequence[float]): IoU thresholds.
        void (str): ``'background'`` (published protocol: a prediction on void pixels counts in the union) or
            ``'ignore'`` (void pixels count nowhere).
        pred_field (str): Field of the data samples that holds the predictions. Several metrics with
            different fields and prefixes evaluate CAM, PRM and IAM of one run.
        dump (str, optional): Json file to write with predictions and ground truth, for
            ``tools/analysis_tools/eval_dump.py``.
        classwise (bool): Whether the table by class is logged.
        collect_device (str): As of :class:`mmengine.evaluator.BaseMetric`.
        prefix (str, optional): Put before the keys, with a slash.
        collect_dir (str, optional): As of BaseMetric.
    """

    default_prefix = None

    def __init__(self, iou_thrs: Sequence[float] = (.25, .5, .75), void: str = 'background',
                 pred_field: str = 'pred_instances', dump: str | None = None, classwise: bool = True,
                 collect_device: str = 'cpu', prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.iou_thrs = tuple(float(thr) for thr in np.atleast_1d(iou_thrs))
        if not self.iou_thrs or not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ValueError(f'iou_thrs must lie in (0, 1], got {iou_thrs}')
        if void not in ('background', 'ignore'):
            raise ValueError(f"void must be 'background' or 'ignore', got {void!r}")
        self.void = void
        self.pred_field = pred_field
        self.dump = dump
        self.classwise = classwise
        self._told_without_predictions = False

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Turn samples into records; masks are kept as RLE.

        Args:
            data_batch (object): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``, ``ori_shape``, ``instances``, optionally
                ``void_mask`` and ``image_labels``, and the predictions.

        Raises:
            ValueError: naming the image whose ground truth or predictions are missing or malformed.
        """
        for sample in data_samples:
            try:
                self.results.append(self._record(sample))
            except ValueError as error:
                raise ValueError(f"image {sample.get('img_id')!r} ({sample.get('img_path', 'no path')}): "
                                 f'{error}') from error

    def _record(self, sample: Mapping) -> dict:
        """The record of one sample."""
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
        """The figures of all records.

        Args:
            results (list[dict]): Records of all images.

        Returns:
            dict[str, float]: Figures in percent; empty if no image has predictions.

        Raises:
            ValueError: if only some images have predictions, or a label is out of range.
        """
        without = [record['img_id'] for record in results if record['predictions'] is None]
        if len(without) == len(results):
            if not self._told_without_predictions:
                print_log(f'no instance predictions ({self.pred_field}) in this stage', logger='current')
                self._told_without_predictions = True
            return {}
        if without:
            raise ValueError(f'{len(without)} of {len(results)} images have no {self.pred_field}, the first '
                             f'{without[0]!r}; an image without instances must have an empty one')
        classes = self.dataset_meta['classes']
        if self.dump is not None:
            save_dump(self.dump, results, classes, self.pred_field)
            print_log(f'predictions and ground truth written to {self.dump}', logger='current')
        name = self.prefix or self.pred_field
        progress = track(results, description=f'evaluating {name}', transient=True,
                         disable=len(results) < 100)
        scores = evaluate_records(progress, len(classes), self.iou_thrs, self.void)
        if not scores.overlap.labels.size:
            print_log(f'{name}: the {len(results)} images have no ground-truth instance; every figure is NaN',
                      logger='current')
        elif self.classwise:
            print_log(f'{name}: {scores.num_images} images, void as {self.void}, in percent\n'
                      + AsciiTable(class_table(scores, classes)).table, logger='current')
        return scores.metrics()


def _array(values: object) -> np.ndarray:
    """A tensor or sequence as an array in main memory."""
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else np.asarray(values)


def prediction_part(predictions: Mapping, size: tuple[int, int], field: str) -> dict[str, list]:
    """``predictions`` of a record.

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
    masks, labels, scores = predictions['masks'], _array(predictions['labels']), _array(predictions['scores'])
    if not len(masks) == len(labels) == len(scores):
        raise ValueError(f'{field} has {len(masks)} masks, {len(labels)} labels and {len(scores)} scores')
    if np.isnan(scores).any():
        raise ValueError(f'{field} has a score that is NaN')
    if len(masks) == 0:
        rles = []
    else:
        rles = [text_rle(mask) for mask in masks] if isinstance(masks, list) else encode_masks(masks)
    if any(list(rle['size']) != list(size) for rle in rles):
        raise ValueError(f"{field} has masks of {rles[0]['size']} pixels, the original image has "
                         f'{list(size)}; predictions must be at original size')
    if 'bboxes' in predictions:
        boxes = _array(predictions['bboxes']).tolist()
    else:
        boxes = [_rle_box(rle) for rle in rles]
    return dict(labels=labels.astype(int).tolist(), scores=scores.astype(float).tolist(),
                masks=[rle['counts'] for rle in rles], bboxes=boxes)


def _rle_box(rle: dict) -> list[float]:
    """Tight box xyxy of an RLE."""
    from pycocotools import mask as coco_mask
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    return [x, y, x + width, y + height]
