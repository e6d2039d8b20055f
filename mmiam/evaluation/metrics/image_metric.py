"""What the metrics share: one result an image, errors that name the image, stages without predictions."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable


class ImageMetric(BaseMetric):
    """A metric of results that each sample gives by itself.

    While no sample has predictions of the kind (stage 1 trains the classifier only), the metrics are empty and a line
    says so once. That some images have them and others not is an error.

    Args:
        pred_field (str): Field of the data samples that holds the predictions. Several metrics with different fields
            and prefixes evaluate CAM, PRM and IAM of one run.
        void (str): ``'background'``, the published protocol, or ``'ignore'``: pixels of ``void_mask`` count nowhere.
        **kwargs: ``collect_device``, ``prefix`` (put before the keys, with a slash) and ``collect_dir`` as of
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
        """What the log calls the predictions."""
        return self.prefix or self.pred_field

    @staticmethod
    def log(text: str, *rows: Sequence[str]) -> None:
        """A line in the log, and the rows of a table below it, the first of which is the heading."""
        print_log(f'{text}\n{AsciiTable(rows).table}' if rows else text, logger='current')

    @abstractmethod
    def record(self, sample: Mapping) -> Any:
        """The result of one sample; a ValueError says what it lacks."""

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
        """Whether the images without predictions, by id, are all ``number`` there are.

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
