"""Checks of the files and values that a config names, before any long work starts."""
from __future__ import annotations

import math
import os.path as osp
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader

from mmiam.models.cues.classifier_weights import check_norm
from mmiam.utils.checkpoints import check_finite, read_checkpoint, state_dict_of

#: config key that names a file -> what to do if the file is missing
REMEDIES = {
    'checkpoint': 'put the weights there, or set another path (README.md, "Weights"); '
                  'model.backbone.init_cfg=None trains from random weights',
    'load_from': 'check the path of the checkpoint',
    'data_root': 'link the data set there, or set the environment variable that the config names (docs/data.md)',
    'img_root': 'set it to the folder of your images (docs/own_data.md)',
    'proposal_root': 'make proposals with tools/proposals/generate.py IMAGES OUT',
}


def find_named_files(node, key: str = '') -> Iterator[tuple[str, str, str]]:
    """Find every local file or folder that a config reads, as (full key, last key, path)."""
    if isinstance(node, dict):
        for name, value in node.items():
            full = f'{key}.{name}' if key else name
            if name in REMEDIES and isinstance(value, str) and value and '://' not in value:
                yield full, name, value
            else:
                yield from find_named_files(value, full)
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from find_named_files(item, f'{key}[{index}]')


def check_config_files(cfg: Config, training: bool) -> None:
    """Check the files that a config names; raise one error that lists all that are missing, with key and remedy.

    Args:
        cfg (Config): the whole config.
        training (bool): whether training data and pretrained weights are needed.

    Raises:
        FileNotFoundError: if a weight file, data root or proposal folder is missing.
        ValueError: if a checkpoint is damaged, would run code when loaded, has weights that are not finite, or was
            trained on images with another mean and standard deviation.
    """
    parts = ['test_dataloader'] if not training else ['model', 'train_dataloader', 'val_dataloader']
    problems, checkpoints = [], {}
    for part in [*parts, 'load_from']:
        for full, name, path in find_named_files({part: cfg.get(part)}):
            if not osp.exists(path):
                problems.append(f'{full} = {path!r} does not exist: {REMEDIES[name]}')
            elif name in ('checkpoint', 'load_from'):
                checkpoints[path] = full
    if problems:
        raise FileNotFoundError('the config names files that are not there:\n  ' + '\n  '.join(dict.fromkeys(problems)))
    norm = cfg.get('model', {}).get('data_preprocessor') or {}
    for path, full in checkpoints.items():
        try:
            content = read_checkpoint(path)
            check_finite(state_dict_of(content, path), path)
            if full.startswith('model.backbone.init_cfg') and {'mean', 'std'} <= set(norm):
                check_norm(content, path, norm['mean'], norm['std'])
        except ValueError as error:
            raise ValueError(f'{full}: {error}') from None


def check_numbers(node, key: str = 'the config') -> None:
    """Raise a ValueError if a setting is NaN: every comparison with it is false, so nothing would be found."""
    if isinstance(node, float) and math.isnan(node):
        raise ValueError(f'{key} is NaN')
    for name, value in node.items() if isinstance(node, dict) else enumerate(
            node if isinstance(node, (list, tuple)) else ()):
        check_numbers(value, f'{key}: {name}' if key == 'the config' else f'{key}.{name}')


def latest_checkpoint(work_dir: str) -> str | None:
    """Find the checkpoint from which a run in a work dir resumes: the newest intact one, or None if there is none.

    ``last_checkpoint`` names it, but with the folder in which it was written, and the work dir may have been moved or
    copied since. The file may also be incomplete, if the run was killed while writing it.

    Raises:
        ValueError: if there are checkpoints but none is intact.
    """
    names = [path.name for path in Path(work_dir).glob('*.pth') if re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)]
    names.sort(key=lambda name: (int(re.findall(r'\d+', name)[-1]), name), reverse=True)
    last = osp.join(work_dir, 'last_checkpoint')
    if osp.isfile(last):
        with open(last, encoding='utf-8', errors='replace') as file:
            named = re.split(r'[\\/]', file.read().strip())[-1]
        if named in names:
            names = [named, *(name for name in names if name != named)]
    broken = []
    for name in names:
        path = osp.join(work_dir, name)
        try:
            read_checkpoint(path, 'meta')
        except ValueError as error:
            broken.append(str(error))
        else:
            return path
    if broken:
        raise ValueError(f'no checkpoint in {work_dir} is whole: {broken[0]}. Start again without --resume, in another '
                         '--work-dir')
    return None


def check_own_initializers(model: torch.nn.Module) -> None:
    """Refuse pretrained weights of another network for backbones that read weights by themselves (Swin, PVT).

    These backbones rename weights while reading them, so the comparison counts the shapes of matrices instead of names.

    Raises:
        ValueError: if fewer than half of the backbone's matrices have a counterpart in the file.
    """
    for module in model.modules():
        config = getattr(module, 'init_cfg', None)
        if (isinstance(config, dict) and config.get('type') == 'Pretrained'
                and type(module).init_weights is not BaseModule.init_weights):
            path = config['checkpoint']
            state = state_dict_of(CheckpointLoader.load_checkpoint(path, 'cpu'), path)
            own, given = (Counter(tuple(value.shape) for value in values.values() if value.dim() > 1) for values in
                          (module.state_dict(), state))
            fit = sum((own & given).values())
            if fit * 2 < sum(own.values()):
                raise ValueError(f'{path} is of another model: it has weights of the shapes of {fit} of the '
                                 f'{sum(own.values())} of {type(module).__name__}; give the weights of this network')


def check_proposals(dataset) -> None:
    """Refuse a training data set in which images lack proposals, before the first epoch.

    Raises:
        FileNotFoundError: if proposals are missing; gives their number and names the first.
    """
    if hasattr(dataset, 'datasets'):
        for one in dataset.datasets:
            check_proposals(one)
    elif hasattr(dataset, 'dataset'):
        check_proposals(dataset.dataset)
    for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        if getattr(step, 'on_missing', None) == 'error':
            paths = [step.proposal_path(dataset.get_data_info(index)) for index in range(len(dataset))]
            missing = [path for path in paths if not path.exists()]
            if missing:
                raise FileNotFoundError(
                    f'{len(missing)} of {len(paths)} training images have no proposals, the first is {missing[0]}; '
                    f'make them: python tools/proposals/generate.py IMAGES {step.proposal_root} (--recursive for '
                    'images in folders); what is there is kept')
