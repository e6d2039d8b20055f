"""Several processes on machines without CUDA.

mmengine's launchers select a CUDA device first, which a build of torch without CUDA refuses. Here the group is opened
before the runner looks for one, and talks by gloo.
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
    """Open the process group by gloo if the launcher is set and there is no CUDA device.

    Args:
        cfg (Config): with ``launcher``; its ``env_cfg.dist_cfg`` and ``model_wrapper_cfg`` are set for the CPU.

    Returns:
        bool: whether a group was opened.

    Raises:
        ValueError: if the launcher's environment variables are not there.
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
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)  # a model in main memory has none
    torch.distributed.init_process_group('gloo')
    return True


def close_cpu_group() -> None:
    """End this process, successfully, when every process of the group has come to its end; the last call of a tool.

    Not by returning: the threads of gloo, taken down by the interpreter's own exit, abort now and then ("terminate
    called without an active exception", torch 2.13), and the launcher then reports finished work as failed.
    """
    torch.distributed.barrier()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _find_first_slurm_host() -> str:
    """The host of task 0, as ``scontrol`` expands it from the list of nodes."""
    import subprocess
    try:
        done = subprocess.run(['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')],
                              capture_output=True, text=True, check=True)
        return done.stdout.split()[0]
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        raise ValueError(f'the first host of the job is not known ({error}); set MASTER_ADDR') from None
