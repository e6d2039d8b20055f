"""Mean average precision of image-level classification, as a metric for mmengine's evaluator."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmdet.registry import METRICS

from mmiam.utils.images import to_numpy

from ..functional.classification_ap import classification_average_precision
from ..functional.records import percent
from .image_metric import ImageMetric


@METRICS.register_module()
class ImageLabelMetric(ImageMetric):
    """Classification AP of ``pred_class_scores`` against ``image_labels``.

    The key of the result is ``cls_mAP``, in percent: the mean over classes with at least ``min_positives``
    images. A table of all classes is logged. If no class has that many images, the result is NaN and the log says so.

    Args:
        min_positives (int): Number of positive images that a class needs to be averaged. Defaults to 5, because AP
            over fewer positives says little.
        **kwargs: See :class:`ImageMetric`.
    """

    def __init__(self, min_positives: int = 5, **kwargs) -> None:
        super().__init__('pred_class_scores', **kwargs)
        self.min_positives = min_positives

    def record(self, sample: Mapping) -> tuple[np.ndarray, list[int]]:
        """Return class scores (C,) and labels of a sample."""
        for key in (self.pred_field, 'image_labels'):
            if sample.get(key) is None:
                raise ValueError(f'no {key!r}, which ImageLabelMetric compares')
        return to_numpy(sample[self.pred_field]).astype(np.float64), [int(label) for label in sample['image_labels']]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute ``cls_mAP`` in percent.

        Raises:
            ValueError: if there is not one score for each class of the data set, or a score is NaN.
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
            self.log(f'no class has {self.min_positives} positive images (min_positives) among {len(results)}; '
                     'cls_mAP is NaN')
        rows = [(name, str(count), percent(ap) if counted else f'({percent(ap)})') for name, count, ap, counted
                in zip(classes, outcome.num_positives, outcome.ap, outcome.counted) if count]
        self.log(f'classification, {len(results)} images, in percent',
                 ('class', 'images', 'AP'), *rows,
                 (f'mean of {int(outcome.counted.sum())} classes', '', percent(outcome.mean)))
        return dict(cls_mAP=100 * outcome.mean)
