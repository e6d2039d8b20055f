"""Runs in several processes on machines without CUDA.

mmengine's launchers select a CUDA device first, which a build of torch without CUDA refuses. Here the process group is
opened before the runner looks for one, and communicates by gloo.
"""
from __future__ import annotations

import logging
import os
import sys

import torch
from mmengine.config import Config

from mmiam.utils.jobs import LAUNCHERS

_START = dict(pytorch='tools/dist_train.sh or tools/dist_test.sh', slurm='tools/slurm_train.sh or tools/slurm_test.sh',
              mpi='mpirun')


def open_cpu_group(cfg: Config) -> bool:
    """Open the process group with gloo if the launcher is set and there is no CUDA device.

    Args:
        cfg (Config): config with ``launcher``; its ``env_cfg.dist_cfg`` and ``model_wrapper_cfg`` are set for the CPU.

    Returns:
        bool: whether a group was opened.

    Raises:
        ValueError: if environment variables of the launcher are missing, or the first host of a Slurm job is unknown.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or torch.cuda.is_available():
        return False
    missing = [name for name in LAUNCHERS[launcher] if name not in os.environ]
    if missing:
        raise ValueError(f'--launcher {launcher}, but {missing[0]} is not set: start it with {_START[launcher]}')
    for name, source in zip(LAUNCHERS['pytorch'], LAUNCHERS[launcher]):
        os.environ[name] = os.environ[source]
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _find_first_slurm_host()
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    cfg.merge_from_dict(dict(env_cfg=dict(dist_cfg=dict(backend='gloo'))))
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel', find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)  # a model in CPU memory has none
    torch.distributed.init_process_group('gloo')
    return True


def close_cpu_group() -> None:
    """End this process successfully once all processes of the group have finished; the last call of a tool.

    The process is not ended by returning: the threads of gloo sometimes abort when the interpreter shuts down
    ("terminate called without an active exception", torch 2.13), and the launcher then reports finished work as
    failed.
    """
    torch.distributed.barrier()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _find_first_slurm_host() -> str:
    """Find the host of task 0, which ``scontrol`` expands from the list of nodes."""
    import subprocess
    try:
        done = subprocess.run(['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')],
                              capture_output=True, text=True, check=True)
        return done.stdout.split()[0]
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        raise ValueError(f'the first host of the job is not known ({error}); set MASTER_ADDR') from None
