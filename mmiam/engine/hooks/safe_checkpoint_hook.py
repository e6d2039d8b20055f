"""Checkpoints that torch's safe loader accepts, and that fit the model that loads them.

mmengine writes history buffers, numpy scalars and deques into its epoch checkpoints;
``torch.load(weights_only=True)``, the default since torch 2.6, refuses them, on load
and on resume. They are written as plain numbers, lists and dicts instead and restored
on load. The safe loader is never switched off.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import BaseLoop

from mmiam.utils.checkpoints import (
    check_class_count,
    check_finite,
    check_fit,
    check_packages,
    classes_of,
    match_classes,
    reads_own_head,
    state_dict_of,
)
from mmiam.utils.files import atomic_write

from .training_stage_hook import TrainingStageHook, unwrap_model


@register_backend('whole')
class WholeFiles(LocalBackend):
    """Backend whose files appear whole or not at all; mmengine's own first empties the file that is there."""

    def put(self, obj: bytes, filepath) -> None:
        """Write a file the way :func:`atomic_write` does."""
        atomic_write(filepath, obj)


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Hook that writes plain, finite checkpoints, each whole or not at all, and loads only what fits model and data.

    In a test and in a resumed run, everything must fit. If ``load_from`` provides the classifier for the filling stage
    alone, the classifier must fit. Otherwise, when training starts from other weights, the backbone must fit.
    Class scores are reordered to match the classes of the data set.
    """

    priority = 'VERY_LOW'

    def before_run(self, runner) -> None:
        """Make sure that checkpoints on local disks are written whole or not at all."""
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook.backend_args is None and hook.file_client_args is None:
                hook.backend_args = dict(backend='whole')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse weights that are not finite, and convert everything else to plain types.

        Raises:
            FloatingPointError: if a weight is not finite; names the first one, and nothing is written.
        """
        try:
            check_finite(checkpoint['state_dict'], 'not saved')
        except ValueError as error:
            raise FloatingPointError(str(error)) from None
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check the weights, and restore the buffers of the message hub.

        Raises:
            ValueError: if weights or classes do not fit, see :func:`check_fit` and :func:`match_classes`.
        """
        self.check(runner, checkpoint)
        hub = checkpoint.get('message_hub')
        if not hub:
            return
        for name, value in hub.get('log_scalars', {}).items():
            if isinstance(value, Mapping):
                hub['log_scalars'][name] = HistoryBuffer(
                    value['log_history'], value['count_history'], max_length=value['max_length'])

    @staticmethod
    def check(runner, checkpoint: dict) -> None:
        """Compare a checkpoint with model and data set, and reorder its classes in place if need be."""
        path = str(runner._load_from or 'the checkpoint')
        model = unwrap_model(runner)
        training = isinstance(runner._train_loop, BaseLoop)
        goes_on = training and runner._resume
        state = state_dict_of(checkpoint, path)
        if goes_on and ('optimizer' not in checkpoint or 'epoch' not in (checkpoint.get('meta') or ())):
            raise ValueError(f'{path} has weights and not the state of a training (optimizer, epoch), from which '
                             '--resume goes on; to begin a training with these weights: --cfg-options load_from=...')
        stages = [hook for hook in runner.hooks if isinstance(hook, TrainingStageHook)]
        whole = not training or goes_on
        filling = training and bool(stages) and stages[0].fill_begin == 0
        if whole:
            check_fit(model, state, path)
            check_packages(model, checkpoint, path)
        elif filling:
            check_fit(model, state, path, ('backbone', 'peak_head'))
        elif hasattr(model, 'backbone'):
            check_fit(model, state, path, ('backbone', ))
        loop = runner._train_loop if training else runner._test_loop
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        wanted = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        found = classes_of(checkpoint)
        agnostic = getattr(dataset, 'class_agnostic', False)
        if whole or filling:
            check_class_count(state, found, path)
        if wanted and found and not agnostic and (whole or filling) and (
                reads_own_head(model) or len(found) == len(wanted)):
            if goes_on and tuple(found) != tuple(wanted):
                raise ValueError(f'{path} was trained with the classes {found}, and the data set has {tuple(wanted)}: '
                                 'a run goes on with the classes in the order that it began with')
            if match_classes(state, found, wanted, path):
                runner.logger.warning(f'{path} has the classes in the order {found}; their scores were reordered to '
                                      f'that of the data set, {tuple(wanted)}')
                checkpoint['state_dict'] = state


def to_plain(value):
    """Convert a value to types that the safe loader knows.

    Raises:
        TypeError: if an object has no plain form; names its type.
    """
    if isinstance(value, np.generic):  # must come first: a numpy float64 is a Python float too
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.Tensor)):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return dict(log_history=history.tolist(), count_history=counts.tolist(), max_length=value.max_length)
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(to_plain(item) for item in value)
    if isinstance(value, (list, deque, set, frozenset)):
        return [to_plain(item) for item in value]
    raise TypeError(f'cannot write a {type(value).__name__} into a checkpoint that loads safely')
