"""Checkpoints that torch's safe loader accepts.

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
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Write plain checkpoints, and give the message hub its buffers back on load."""

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        hub = checkpoint.get('message_hub')
        if not hub:
            return
        for name, value in hub.get('log_scalars', {}).items():
            if isinstance(value, Mapping):
                hub['log_scalars'][name] = HistoryBuffer(
                    value['log_history'], value['count_history'], max_length=value['max_length'])


def to_plain(value):
    """The same content in types that the safe loader knows.

    Raises:
        TypeError: for an object that has no plain form, with its type.
    """
    if isinstance(value, np.generic):  # first: a numpy float64 is a Python float too
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
