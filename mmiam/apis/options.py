"""The command line that tools which look at one model share."""
from __future__ import annotations

import argparse
import os

import torch
from mmengine.config import Config, DictAction


def model_parser(description: str, checkpoint: str | None = None) -> argparse.ArgumentParser:
    """A parser with ``config``, ``checkpoint``, ``--device`` and ``--cfg-options``.

    Args:
        description (str): text above the options.
        checkpoint (str, optional): ``nargs`` of the checkpoint; ``'?'`` makes it optional.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs=checkpoint, help='checkpoint file')
    parser.add_argument('--device', help='default: a CUDA device where there is one, else the CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
    return parser


def given_config(args: argparse.Namespace) -> Config:
    """The config that is named, with the settings that override it."""
    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    return config


def device_name(device: str | None) -> str:
    """The device asked for, or the CUDA device of this process on its machine, or the CPU."""
    if device or not torch.cuda.is_available():
        return device or 'cpu'
    local = int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0)))
    return f'cuda:{local % torch.cuda.device_count()}'
