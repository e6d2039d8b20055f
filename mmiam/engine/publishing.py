"""Checkpoints to hand on: weights and what is needed to use them, the hash in the name."""
from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from mmiam.utils.files import atomic_write
from mmiam.version import __version__

from .hooks.safe_checkpoint_hook import to_plain
from .safe_loading import read_checkpoint

#: of ``meta``: what says what the weights are; not the config's paths, the host or the time of the run
_KEPT_META = ('epoch', 'iter', 'seed', 'dataset_meta', 'mmengine_version')


def save_checkpoint(content: dict, path: str | Path) -> None:
    """Write a checkpoint that the safe loader takes, to a temporary name first."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def state_dict_of(content: dict, path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint, whether it is a state dict or holds one.

    Raises:
        ValueError: if there are none.
    """
    for key in ('state_dict', 'model'):
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise ValueError(f'{path} holds no tensors by name')
    return state


def publish(source: str, target: str, half: bool = False, notes: dict | None = None) -> tuple[str, str]:
    """Strip a checkpoint to what a user of it needs.

    Kept are ``state_dict`` and of ``meta`` epoch, seed and the data set's classes; optimizer, schedulers, logs and the
    config, which holds paths of the machine, are left out.

    Args:
        source (str): a checkpoint of a run.
        target (str): ``folder/name.pth``; the file is ``folder/name-<first 8 digits of its sha256>.pth``.
        half (bool): store floating weights with 16 bits; they load into 32 bits. Not batch norm's statistics.
        notes (dict, optional): further plain values for ``meta``, such as the config's name or the data.

    Returns:
        tuple[str, str]: path and sha256 of the file.

    Raises:
        FileNotFoundError, ValueError: as of :func:`mmiam.engine.read_checkpoint`, or if a weight is not finite.
    """
    content = read_checkpoint(source)
    state = state_dict_of(content, source)
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(f'{source}: {broken[0]} ({len(broken)} in all) is not finite; such weights are not published')
    if half:
        state = {key: value.half() if value.is_floating_point() and 'running_' not in key else value
                 for key, value in state.items()}
        flat = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if flat:
            raise ValueError(f'{source}: {flat[0]} leaves the range of 16 bits; publish with 32')
    found = content.get('meta')
    meta = {key: found[key] for key in _KEPT_META if key in found} if isinstance(found, dict) else {}
    meta = to_plain({**meta, **(notes or {}), 'mmiam_version': __version__})
    buffer = io.BytesIO()
    torch.save(dict(state_dict={key: value.clone() for key, value in state.items()}, meta=meta), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    stem = re.sub(r'-[0-9a-f]{8}$', '', os.path.splitext(target)[0])
    path = f'{stem}-{digest[:8]}.pth'
    atomic_write(path, buffer.getvalue())
    return path, digest
