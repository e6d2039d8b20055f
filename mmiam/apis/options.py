"""What the tools' command lines share: options, and how a run ends."""
from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable

import torch
from mmengine.config import Config, DictAction

from mmiam.utils.files import CannotWrite

#: what the system refuses while a run works, and what to do about it
_REMEDIES = {
    errno.ENOSPC: 'make room on the disk, or write to another folder',
    errno.EDQUOT: 'the quota is used up: make room, or write to another folder',
    errno.EROFS: 'the folder can only be read: write to another one',
    errno.EACCES: 'nothing may be written or read there: change the permissions, or take another folder',
    errno.EPERM: 'nothing may be written or read there: change the permissions, or take another folder',
    errno.ENOENT: 'it does not exist, or was removed meanwhile; what was finished elsewhere is kept: start again '
                  '(train.py with --resume)',
}


def run_tool(work: Callable[[], int | None]) -> int:
    """Run the work of a tool; what a user can mend ends in one sentence on stderr.

    Returns:
        int: exit status: what ``work`` returns (None: 0); 2 for wrong use (an argument, a config, a file that is
        missing or wrong), 1 for work that failed (no room on the disk, numbers that are none). Other errors are
        faults of the program and keep their traceback.
    """
    try:
        return work() or 0
    except KeyboardInterrupt:
        print('interrupted; what is finished is kept', file=sys.stderr)
        return 130
    except (ValueError, KeyError, ArithmeticError, OSError) as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        failed = isinstance(error, (ArithmeticError, CannotWrite)) or (
            isinstance(error, OSError) and error.errno in _REMEDIES)
        return 1 if failed else 2


def sentence(error: BaseException) -> str:
    """What an error says, without the traceback of a data loader's worker in it, and the remedy for the system's."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES and not isinstance(error, CannotWrite):
        text = f'{error.filename or "writing failed"}: {error.strerror}; {_REMEDIES[error.errno]}'
    worker = re.search(r'^\w*(?:Error|Exception): ([^\n]*(?:\n(?!\w).*)*)\Z', text.rstrip(), re.MULTILINE)
    text = worker[1] if 'Original Traceback' in text and worker else text
    return '; '.join([text or type(error).__name__, *getattr(error, '__notes__', ())])


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
