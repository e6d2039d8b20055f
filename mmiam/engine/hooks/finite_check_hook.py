"""Stopping a run at values that are not finite, before they are saved or counted."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Hook that stops training at the first loss that is infinite or NaN, and a test at the first score that is NaN.

    Raises:
        FloatingPointError: at such a value; names the loss or the image, and what to change.
    """

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        for name, value in (outputs or {}).items():
            value = float(value.detach() if isinstance(value, torch.Tensor) else value)
            if 'loss' in name and not math.isfinite(value):
                samples = (data_batch or {}).get('data_samples') or ()
                rates = runner.optim_wrapper.get_lr()
                highest = max(rate for values in rates.values() for rate in values)
                raise FloatingPointError(
                    f'{name} is {value} in epoch {runner.epoch + 1}, iteration {runner.iter + 1}, on '
                    f'{", ".join(str(sample.get("img_path")) for sample in samples) or "this batch"}, at learning '
                    f'rates up to {highest:g}: the training diverged, and nothing of it was saved. Lower '
                    'optim_wrapper.optimizer.lr (or set optim_wrapper.clip_grad) and --resume from the last epoch')

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs: Sequence[DetDataSample] = ()) -> None:
        check_predictions(outputs)

    after_test_iter = after_val_iter


def check_predictions(samples: Iterable[DetDataSample]) -> None:
    """Raise a FloatingPointError if scores are NaN; it names the image.

    Masks and labels result from comparisons, and every comparison with NaN is false, so the result would look like
    that of an image in which nothing was found.
    """
    for sample in samples or ():
        instances = sample.get('pred_instances')
        for values in (sample.get('pred_class_scores'), instances.get('scores') if instances is not None else None):
            if isinstance(values, torch.Tensor) and values.isnan().any():
                raise FloatingPointError(f'{sample.get("img_path") or "the image"}: the scores are NaN. If '
                                         'only this image is affected, its pixels are NaN or out of range; if all '
                                         'images are, the weights are broken')
