"""Mean average precision of image-level classification, as an evaluator's metric."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable

from ..functional.classification_ap import ClassificationAP, classification_average_precision
from ..functional.records import percent


@METRICS.register_module()
class ImageLabelMetric(BaseMetric):
    """Classification AP of ``pred_class_scores`` against ``image_labels``.

    The key of the result is ``cls_mAP``, in percent: the mean over classes with at least ``min_positives``
    images. A table by class is logged. NaN, with a line that says so, if no class has that many.

    Args:
        min_positives (int): Images with the class that a class needs to be averaged. 5, because AP over
            fewer positives says little.
        classwise (bool): Whether the table by class is logged.
        collect_device (str): As of :class:`mmengine.evaluator.BaseMetric`.
        prefix (str, optional): Put before the key, with a slash.
        collect_dir (str, optional): As of BaseMetric.
    """

    default_prefix = None

    def __init__(self, min_positives: int = 5, classwise: bool = True, collect_device: str = 'cpu',
                 prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.min_positives = min_positives
        self.classwise = classwise

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Keep class scores and labels.

        Args:
            data_batch (object): Not used.
            data_samples (Sequence[dict]): Samples with ``pred_class_scores`` (C,) and ``image_labels``.

        Raises:
            ValueError: naming the image that lacks either.
        """
        for sample in data_samples:
            for key in ('pred_class_scores', 'image_labels'):
                if sample.get(key) is None:
                    raise ValueError(f"image {sample.get('img_id')!r} has no {key!r}, which ImageLabelMetric "
                                     'compares')
            scores = sample['pred_class_scores']
            scores = scores.detach().cpu().numpy() if hasattr(scores, 'detach') else np.asarray(scores)
            self.results.append((scores.astype(np.float64), [int(label) for label in sample['image_labels']]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """``cls_mAP`` in percent.

        Raises:
            ValueError: if the scores are not one for each class of the data set, or NaN.
        """
        classes = self.dataset_meta['classes']
        wrong = next((len(scores) for scores, _ in results if len(scores) != len(classes)), None)
        if wrong is not None:
            raise ValueError(f'pred_class_scores has {wrong} entries, the data set {len(classes)} classes; '
                             'set num_classes of the model')
        positive = np.zeros((len(results), len(classes)), dtype=bool)
        for row, (_, labels) in enumerate(results):
            positive[row, labels] = True
        scores = np.array([scores for scores, _ in results]).reshape(positive.shape)
        outcome = classification_average_precision(scores, positive, self.min_positives)
        if not outcome.counted.any():
            print_log(f'no class has {self.min_positives} positive images (min_positives) among '
                      f'{len(results)}; cls_mAP is NaN', logger='current')
        if self.classwise:
            print_log(f'classification, {len(results)} images, in percent\n' + self._table(outcome, classes),
                      logger='current')
        return dict(cls_mAP=100 * outcome.mean)

    @staticmethod
    def _table(outcome: ClassificationAP, classes: Sequence[str]) -> str:
        """AP by class; classes below ``min_positives`` in brackets."""
        rows = [['class', 'images', 'AP']]
        for label, name in enumerate(classes):
            if outcome.num_positives[label]:
                text = percent(outcome.ap[label])
                rows.append([name, str(outcome.num_positives[label]),
                             text if outcome.counted[label] else f'({text})'])
        rows.append([f'mean of {int(outcome.counted.sum())} classes', '', percent(outcome.mean)])
        return AsciiTable(rows).table
