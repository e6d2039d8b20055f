"""Checkpoints of Table 1: given on the command line by name and seed, and looked at before anything runs."""
from __future__ import annotations

import json
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import torch
from mmdet.registry import MODELS


def parse_checkpoints(arguments: Sequence[str], seeds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Checkpoints by name and seed from the command line.

    Args:
        arguments (list[str]): each ``name=path`` or a json file ``{"name": {"seed": "path"} | ["path"] | "path"}``
            (its paths are relative to it). ``{seed}`` in a path stands for every seed; several paths of a name
            belong to the seeds in turn.
        seeds (list[str]): names of the seeds; by default paths are counted from 0.

    Raises:
        FileNotFoundError, ValueError: naming the argument at fault.
    """
    found: dict[str, dict[str, str]] = {}
    for argument in arguments:
        name, equals, path = argument.partition('=')
        if equals and name and path:
            given = {name: [path]}
        else:
            given = _read_checkpoint_file(argument)
        for name, paths in given.items():
            known = found.setdefault(name, {})
            for seed, path in _by_seed(paths, seeds, len(known), argument):
                if seed in known:
                    raise ValueError(f'two checkpoints of {name!r} for seed {seed}: {known[seed]} and {path}')
                known[seed] = path
    return found


def _read_checkpoint_file(path: str) -> dict:
    """Content of the json file, with its paths made relative to the working directory."""
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist; give name=path, or a json file of such pairs') from None
    except (ValueError, RecursionError) as error:  # no text, no json, or nested without end
        raise ValueError(f'{path} is not json ({error})') from None
    folder = osp.dirname(path)
    result = {}
    for name, paths in content.items() if isinstance(content, dict) else [(None, None)]:
        paths = [paths] if isinstance(paths, str) else paths
        values = paths.values() if isinstance(paths, dict) else paths
        if not isinstance(paths, (dict, list)) or not all(isinstance(value, str) for value in values):
            raise ValueError(f'{path} must hold {{"name": {{"seed": "path"}}}}, with a list or one path for the latter '
                             'too')
        if isinstance(paths, dict):
            result[name] = {seed: osp.join(folder, value) for seed, value in paths.items()}
        else:
            result[name] = [osp.join(folder, value) for value in paths]
    return result


def _by_seed(paths, seeds: Sequence[str], position: int, source: str) -> Iterator[tuple[str, str]]:
    """(seed, path) of a dict by seed or a list of paths; ``position``: how many paths the name has already;
    ``source``: the argument they are of."""
    if isinstance(paths, dict):
        yield from ((str(seed), path) for seed, path in paths.items())
        return
    for path in paths:
        if '{seed}' in path:
            if not seeds:
                raise ValueError(f'{source}: name the seeds of {path} with --seeds')
            yield from ((seed, path.replace('{seed}', seed)) for seed in seeds)
            continue
        if seeds and position >= len(seeds):
            raise ValueError(f'{source}: more checkpoints than seeds {list(seeds)}, the first is {path}')
        yield (seeds[position] if seeds else str(position)), path
        position += 1


def checkpoint_problem(path: str, model: Mapping) -> str | None:
    """Why a checkpoint does not serve a model: not there, other parameters, or a filling module never trained."""
    try:
        shapes, untrained, _ = _checkpoint_content(path)
    except FileNotFoundError:
        return f'{path} does not exist'
    except Exception as error:  # whatever a damaged file makes the loader raise
        return f'{path} cannot be read as a checkpoint ({type(error).__name__})'
    wanted = _model_shapes(as_json(without(model, 'train_cfg', 'sampler', 'post_processor', 'test_cfg')))
    wrong = [name for name, shape in wanted.items() if shapes.get(name) != shape]
    if wrong:
        return (f'{path} does not fit the model: {len(wrong)} of {len(wanted)} parameters are not there or have '
                f'another shape, the first is {wrong[0]}')
    if untrained and model.get('filler'):
        return f'the filling module in {path} was never trained'
    return None


@cache
def _checkpoint_content(path: str) -> tuple[dict[str, tuple], bool, str]:
    """Shapes of the parameters; whether the batch norm of the filling module has never seen a batch; the training
    config as text ('' where the file does not tell)."""
    content = torch.load(path, map_location='cpu', weights_only=True)
    state = content.get('state_dict', content)
    counters = [int(value) for name, value in state.items()
                if name.startswith('filler.') and name.endswith('num_batches_tracked')]
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    return shapes, bool(counters) and not any(counters), str((content.get('meta') or {}).get('cfg') or '')


def checkpoint_note(path: str, model: Mapping) -> str | None:
    """What should be known about a checkpoint that fits: a head without parameters of its own fits any classifier."""
    config = _checkpoint_content(path)[2]
    head = (model.get('peak_head') or {}).get('type')
    if head == 'SoftProposalHead' and config and head not in config:
        return f'{path} was trained without soft proposals, they are coupled at test time only'
    return None


@cache
def _model_shapes(model: str) -> dict[str, tuple]:
    """Shapes of the parameters of a model given as json."""
    built = MODELS.build(json.loads(model))
    return {name: tuple(value.shape) for name, value in built.state_dict().items()}


def without(config: Mapping, *keys: str) -> dict:
    """A config without some of its keys."""
    return {key: value for key, value in config.items() if key not in keys}


def as_json(value) -> str:
    """Text that is equal for equal configs."""
    return json.dumps(value, sort_keys=True, default=str)
