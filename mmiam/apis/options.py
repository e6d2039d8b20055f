"""What the command lines of all tools share: options, and how a run ends."""
from __future__ import annotations

import argparse
import errno
import functools
import math
import os
import os.path as osp
import re
import sys
from collections.abc import Callable

import torch
from mmengine.config import Config, DictAction

from mmiam.engine.preflight import check_numbers
from mmiam.utils.files import CannotWrite
from mmiam.utils.jobs import LAUNCHERS

#: errors of the operating system during a run, and what to do about them
_REMEDIES = {
    errno.ENOSPC: 'make room on the disk, or write to another folder',
    errno.EDQUOT: 'the quota is used up: make room, or write to another folder',
    errno.EROFS: 'the folder can only be read: write to another one',
    errno.EACCES: 'nothing may be written or read there: change the permissions, or take another folder',
    errno.EPERM: 'nothing may be written or read there: change the permissions, or take another folder',
    errno.ENOENT: 'it does not exist, or was removed meanwhile; what was finished elsewhere is kept: start again '
                  '(train.py with --resume)',
}


def number(least: float, most: float = math.inf, kind: Callable = float) -> Callable[[str], float]:
    """Make a converter for argparse that accepts numbers from ``least`` to ``most``, and refuses NaN."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'{text!r} is no {kind.__name__} from {least} to {most}')
        return value

    return convert


#: options that several tools have
_SHARED: dict[str, dict] = {
    'config': dict(help='config file'),
    'checkpoint': dict(help='checkpoint file'),
    'model': dict(help="'voc20' (twenty everyday classes), 'imagenet' (a thousand), or the folder of a run of mmiam "
                  'label'),
    '--model': dict(default='voc20', help="'voc20': twenty everyday classes (default); 'imagenet': the thousand of "
                    'ImageNet; or the folder of a run of mmiam label'),
    '--device': dict(help='default: a CUDA device where there is one, else the CPU'),
    '--host': dict(default='127.0.0.1', help='address to serve at (default: 127.0.0.1, this machine alone; there is no '
                   'login)'),
    '--port': dict(type=number(0, 65535, int), help='port to serve at (default: %(default)s; 0: a free one)'),
    '--effort': dict(type=number(0), default=1., help='factor of the length of training (default: 1)'),
    '--cfg-options': dict(nargs='+', action=DictAction, help='override settings of the config, key=value'),
    '--work-dir': dict(help='folder of the run (default: work_dirs/<config name>)'),
    '--seed': dict(type=number(0, 2**63 - 1, int), default=0, help='of all random choices (default: 0)'),
    '--json': dict(metavar='FILE', help='write the figures to this file'),
    '--workers': dict(type=number(1, kind=int), default=1, help='processes, one thread each'),
    '--overwrite': dict(action='store_true', help='make files anew that exist'),
    '--shard': dict(help="part of the work for this process, as '0/4' .. '3/4'; 'auto': of this process under "
                    'torchrun, srun, a Slurm array or mpirun'),
    '--launcher': dict(choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher'),
    '--local_rank --local-rank': dict(type=int, default=0, help='given by launchers'),
}


def run_tool(work: Callable[[], int | None]) -> int:
    """Run the work of a tool; errors that a user can fix become one sentence on stderr.

    Returns:
        int: exit status: what ``work`` returns (None counts as 0); 2 for wrong use (an argument, a config, a file or a
        package that is missing or wrong); 1 for work that failed (no room on the disk, numbers that are not finite, a
        data loader worker that died); 130 if interrupted. Other errors are faults of the program and keep their
        traceback.
    """
    if hasattr(sys.stdout, 'reconfigure'):  # names of files need not be valid text
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        return work() or 0
    except KeyboardInterrupt:
        print('interrupted; what is finished is kept', file=sys.stderr)
        return 130
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        print(f'error: {str(error).rstrip(". ")}: it reads images, and memory may have run out: lower '
              'num_workers of the data loader, and start again (train.py with --resume)', file=sys.stderr)
        return 1
    except (ValueError, KeyError, ArithmeticError, OSError, ModuleNotFoundError) as error:
        print(f'error: {sentence(error)}', file=sys.stderr)
        failed = isinstance(error, (ArithmeticError, CannotWrite)) or (
            isinstance(error, OSError) and error.errno in _REMEDIES)
        return 1 if failed else 2


def sentence(error: BaseException) -> str:
    """Return the message of an error, without any traceback of a data loader's worker, but with a remedy if known."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES and not isinstance(error, CannotWrite):
        text = f'{error.filename or "writing failed"}: {error.strerror}; {_REMEDIES[error.errno]}'
    worker = re.search(r'^\w*(?:Error|Exception): ([^\n]*(?:\n(?!\w).*)*)\Z', text.rstrip(), re.MULTILINE)
    text = worker[1] if 'Original Traceback' in text and worker else text
    return '; '.join([text or type(error).__name__, *getattr(error, '__notes__', ())])


def tool(main: Callable[[list[str] | None], int | None]) -> Callable[..., int]:
    """Decorate the ``main(argv)`` of a tool: ``argv`` may be left out, and errors end as in :func:`run_tool`."""

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        return run_tool(lambda: main(argv))

    return run


def make_parser(description: str | None, *shared: str) -> argparse.ArgumentParser:
    """Make a parser with some of the options that tools share (:data:`_SHARED`).

    Args:
        description (str): text above the options, shown with its line breaks.
        *shared (str): names of options; a '?' after the name of a positional one makes it optional.
    """
    return add_options(argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter), *shared)


def add_options(parser: argparse.ArgumentParser, *shared: str) -> argparse.ArgumentParser:
    """Add options to a parser and return it; for their names see :func:`make_parser`."""
    for name in shared:
        may_be_left_out: dict = dict(nargs='?') if name.endswith('?') else {}
        parser.add_argument(*name.rstrip('?').split(), **may_be_left_out, **_SHARED[name.rstrip('?')])
    return parser


def given_config(args: argparse.Namespace) -> Config:
    """Read the config that the arguments name, apply their overrides, and set work dir and launcher if they have these.

    Raises:
        ValueError: if the settings do not fit the config.
    """
    config = Config.fromfile(args.config)
    try:
        config.merge_from_dict(args.cfg_options or {})
    except TypeError as error:  # a value in place of a dict, or the other way round
        raise ValueError(f'--cfg-options do not fit {args.config}: {error}') from None
    if 'work_dir' in args:
        default = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
        config.work_dir = args.work_dir or config.get('work_dir') or default
    if 'launcher' in args:
        config.launcher = args.launcher
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    check_numbers(config.to_dict())
    return config


def counted(count: int, noun: str) -> str:
    """Put a count before a noun: '1 mask', '2 masks'."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def device_name(device: str | None) -> str:
    """Return the device asked for, or else the CUDA device of this process on its machine, or else the CPU."""
    if device or not torch.cuda.is_available():
        return device or 'cpu'
    local = next((int(os.environ[name]) for *_, name in LAUNCHERS.values() if name in os.environ), 0)
    return f'cuda:{local % torch.cuda.device_count()}'
