"""Look for the files that a config names before anything long begins."""
from __future__ import annotations

import os.path as osp
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint

from .safe_loading import check_checkpoint, read_checkpoint

#: what to do about a missing file, by the config key that names it
REMEDIES = {
    'checkpoint': 'put the weights there, or set another path (README.md, "Weights"); '
                  'model.backbone.init_cfg=None trains from random weights',
    'load_from': 'check the path of the checkpoint',
    'data_root': 'link the data set there, or set the environment variable that the config names (docs/data.md)',
    'img_root': 'set it to the folder of your images (docs/own_data.md)',
    'proposal_root': 'make proposals with tools/proposals/generate.py IMAGES OUT',
}


def named_files(node, key: str = '') -> Iterator[tuple[str, str, str]]:
    """(full key, last key, path) of every local file or folder of a config that is read."""
    if isinstance(node, dict):
        for name, value in node.items():
            full = f'{key}.{name}' if key else name
            if name in REMEDIES and isinstance(value, str) and value and '://' not in value:
                yield full, name, value
            else:
                yield from named_files(value, full)
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from named_files(item, f'{key}[{index}]')


def check_config_files(cfg: Config, training: bool) -> None:
    """Raise one error that lists every missing file or folder with its key and remedy.

    Args:
        cfg (Config): the whole config.
        training (bool): whether the training data and pretrained weights are needed.

    Raises:
        FileNotFoundError: if a weight file, data root or proposal folder is missing.
        ValueError: if a checkpoint is damaged, or would run something when it is loaded.
    """
    parts = ['test_dataloader'] if not training else ['model', 'train_dataloader', 'val_dataloader']
    problems, checkpoints = [], {}
    for part in [*parts, 'load_from']:
        for full, name, path in named_files({part: cfg.get(part)}):
            if not osp.exists(path):
                problems.append(f'{full} = {path!r} does not exist: {REMEDIES[name]}')
            elif name in ('checkpoint', 'load_from'):
                checkpoints[path] = full
    if problems:
        raise FileNotFoundError('the config names files that are not there:\n  ' + '\n  '.join(dict.fromkeys(problems)))
    if training and cfg.get('resume') and not cfg.get('load_from') and cfg.get('work_dir'):
        latest = find_latest_checkpoint(cfg.work_dir) if osp.isdir(cfg.work_dir) else None
        if latest is not None and osp.isfile(latest):
            checkpoints[latest] = '--resume'
    for path, full in checkpoints.items():
        try:
            check_checkpoint(path)
        except ValueError as error:
            raise ValueError(f'{full}: {error}') from None


def check_weights(model: torch.nn.Module, path: str) -> None:
    """Raise an error for weights of other shapes, which mmengine would leave out with a line in the log.

    Args:
        model (nn.Module): that the weights are for; a parallel wrapper of it will do.
        path (str): a checkpoint's file.

    Raises:
        ValueError: naming the first of them.
    """
    content = read_checkpoint(path, map_location='meta')
    state = content.get('state_dict', content)
    model = model.module if is_model_wrapper(model) else model
    wrong = [(name, tuple(value.shape), tuple(state[name].shape)) for name, value in model.state_dict().items()
             if name in state and state[name].shape != value.shape]
    if wrong:
        name, ours, theirs = wrong[0]
        raise ValueError(f'{path} is of another model: {len(wrong)} of its weights have other shapes, the first is '
                         f'{name}, {theirs} in place of {ours}; give the config it was trained with')
