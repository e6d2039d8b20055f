"""Safeguards for the runs of ``tools/train.py`` and ``tools/test.py``."""
from __future__ import annotations

import os
import os.path as osp
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

#: hooks that every run has, whatever its config
_GUARDS = dict(safe_checkpoint='SafeCheckpointHook', epoch_seed='EpochSeedHook', finite_check='FiniteCheckHook')


def add_guards(cfg: Config) -> None:
    """Add the hooks that check weights, seeds and numbers to a config, even if it has its own ``default_hooks``."""
    hooks = cfg.setdefault('default_hooks', {})
    for name, kind in _GUARDS.items():
        hooks.setdefault(name, dict(type=kind))


@contextmanager
def lock_work_dir(work_dir: str, first: bool = True) -> Iterator[None]:
    """Keep other training runs out of a work dir, if the file system supports locks; a lock ends with its process.

    Args:
        work_dir (str): created if it does not exist.
        first (bool): whether this process is the one that locks, among the processes of one training run.

    Raises:
        ValueError: if another training run is using the work dir.
    """
    try:
        import fcntl
    except ImportError:
        fcntl = None  # type: ignore[assignment]
    if fcntl is None or not first:
        yield
        return
    os.makedirs(work_dir, exist_ok=True)
    with open(osp.join(work_dir, '.lock'), 'a+', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(f'another training ({file.read().strip() or "process unknown"}) writes into {work_dir}: '
                             'wait for its end, or give another --work-dir') from None
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        yield


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config.

    It omits log lines that nobody acts on: the learning rate of each parameter, and deprecations inside other packages.
    If there is a GPU, data loaders put batches into page-locked memory unless the config says otherwise.

    Raises:
        ValueError: if keys of the config do not fit what they configure; names the config.
    """
    for module in ('mmengine', 'torch', 'mmdet', 'mmcv'):
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings('ignore', category=category, module=module)
    if torch.cuda.is_available():
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(name):
                cfg[name].setdefault('pin_memory', True)
    try:
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    except TypeError as error:
        raise ValueError(f'{cfg.filename}: {error}') from error
    runner.logger.addFilter(lambda record: not str(record.msg).startswith('paramwise_options'))
    return runner
