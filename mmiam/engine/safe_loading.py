"""Checkpoints are read by torch's safe loader alone, whoever reads them.

A pickle is a program. ``torch.load(weights_only=True)`` builds tensors, numbers, texts, lists and dicts and calls
nothing that a file names. It is the default only since torch 2.6, ``torch.hub`` passes False to it to this day, and
an environment variable switches it off: here it is said explicitly.
"""
from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from mmengine.runner.checkpoint import CheckpointLoader

_REFUSED = re.compile(r'(?:GLOBAL|Unsupported class) ([\w.]+)')  # the second before torch 2.4
_SWITCHES = ('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_WEIGHTS_ONLY_LOAD')
_REMOTE = ('http://', 'https://')


def read_checkpoint(path: str, map_location='cpu') -> dict:
    """The content of a checkpoint; nothing in the file is ever run.

    Args:
        path (str): the file.
        map_location: as of :func:`torch.load`.

    Returns:
        dict: whatever the file holds: tensors by name, or ``state_dict``, ``meta`` and so on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file wants to run something, is damaged, or is no checkpoint; file and cause are named.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    if not os.path.getsize(path):
        raise ValueError(f'checkpoint {path} is empty (0 bytes); copy or download it again')
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, str(error))) from None
    except Exception as error:  # a damaged file makes the loader raise whatever it stumbles over
        raise ValueError(f'checkpoint {path} is truncated or no checkpoint ({type(error).__name__}: '
                         f'{str(error).strip().splitlines()[0] if str(error).strip() else "no cause given"}); copy or '
                         'download it again') from None
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a checkpoint (a dict of tensors by name)')
    return content


def _refusal(path: str, message: str) -> str:
    """The sentence for a file that the safe loader does not take."""
    found = _REFUSED.search(message)
    if found is None:
        return (f'checkpoint {path} is refused by the safe loader and nothing in it was run: it is damaged, or no '
                'checkpoint of plain tensors, numbers and texts')
    return (f'checkpoint {path} is refused and nothing in it was run: loading it would call {found.group(1)}, which a '
            'checkpoint of plain tensors, numbers and texts never does. Take the file from a source you trust; one of '
            "your own from another project: write its state_dict alone, torch.save(dict(state_dict=...), 'new.pth')")


def check_checkpoint(path: str) -> None:
    """Raise as :func:`read_checkpoint` does, before anything long begins."""
    read_checkpoint(path, map_location='meta')


def load_from_safe(filename: str, map_location=None) -> dict:
    """Loader for mmengine, whose log takes what follows `load_from_` for a name: a file, or a URL fetched first."""
    if filename.startswith(_REMOTE):
        from .download import fetch
        filename = fetch(filename)
    return read_checkpoint(filename, map_location)


def use_safe_loader() -> None:
    """Have mmengine and torch read every checkpoint of this process, and of those it starts, safely.

    The tools call it; ``import mmiam`` does not, so that it changes nothing in projects that it is mixed into.
    """
    if os.environ.pop(_SWITCHES[0], None) is not None:
        warnings.warn(f'{_SWITCHES[0]} is ignored: checkpoints are read by the safe loader', stacklevel=2)
    os.environ[_SWITCHES[1]] = '1'  # also torch.hub's calls, which pass weights_only=False
    CheckpointLoader.register_scheme(prefixes=['', *_REMOTE], loader=load_from_safe, force=True)


@contextmanager
def safe_loader() -> Iterator[None]:
    """:func:`use_safe_loader` within a block; afterwards everything is as it was."""
    switches = {name: os.environ.get(name) for name in _SWITCHES}
    schemes = CheckpointLoader._schemes.copy()
    try:
        use_safe_loader()
        yield
    finally:
        CheckpointLoader._schemes = schemes
        for name, value in switches.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
