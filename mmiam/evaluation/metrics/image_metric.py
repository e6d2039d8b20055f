"""Base of the metrics: one result per image, errors that name the image, training stages without predictions."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable


class ImageMetric(BaseMetric):
    """Base class for metrics computed from one independent result per sample.

    While no sample has predictions of the kind (stage 1 trains only the classifier), the metrics are empty, and the log
    says so once. It is an error if some images have predictions and others do not.

    Args:
        pred_field (str): Field of the data samples that holds the predictions. Several metrics with different fields
            and prefixes evaluate CAM, PRM and IAM of one run.
        void (str): ``'background'``, the published protocol, or ``'ignore'``: pixels of ``void_mask`` count nowhere.
        **kwargs: ``collect_device``, ``prefix`` (put before the keys, with a slash) and ``collect_dir``, see
            :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(self, pred_field: str = 'pred_instances', void: str = 'background', **kwargs) -> None:
        super().__init__(**kwargs)
        if void not in ('background', 'ignore'):
            raise ValueError(f"void must be 'background' or 'ignore', got {void!r}")
        self.pred_field = pred_field
        self.void = void
        self._told_without_predictions = False

    @property
    def title(self) -> str:
        """Name of the predictions in the log."""
        return self.prefix or self.pred_field

    @staticmethod
    def log(text: str, *rows: Sequence[str]) -> None:
        """Log a line, and below it a table of ``rows``, the first of which is the heading."""
        print_log(f'{text}\n{AsciiTable(rows).table}' if rows else text, logger='current')

    @abstractmethod
    def record(self, sample: Mapping) -> Any:
        """Compute the result of one sample; a ValueError says what the sample lacks."""

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Keep the results of a batch.

        Args:
            data_batch (object): Not used.
            data_samples (Sequence[dict]): Samples, see :meth:`record`.

        Raises:
            ValueError: naming the image whose ground truth or predictions are missing or malformed.
        """
        for sample in data_samples:
            try:
                self.results.append(self.record(sample))
            except ValueError as error:
                raise ValueError(f"image {sample.get('img_id')!r} ({sample.get('img_path', 'no path')}): "
                                 f'{error}') from error

    def nothing_predicted(self, without: list, number: int) -> bool:
        """Tell whether no image has predictions, given the ids of those without and the ``number`` of all images.

        Raises:
            ValueError: if only some images have predictions.
        """
        if without and len(without) < number:
            raise ValueError(f'{len(without)} of {number} images have no {self.pred_field}, the first {without[0]!r}; '
                             'an image in which nothing is found must have an empty one')
        if without and not self._told_without_predictions:
            self.log(f'no predictions ({self.pred_field}) in this stage')
            self._told_without_predictions = True
        return bool(without)
