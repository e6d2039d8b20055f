"""Look for the files that a config names before anything long begins."""
import os.path as osp
from collections.abc import Iterator

from mmengine.config import Config

#: what to do about a missing file, by the config key that names it
REMEDIES = {
    'checkpoint': 'put the weights there, or set another path (README.md, "Weights"); '
                  'model.backbone.init_cfg=None trains from random weights',
    'load_from': 'check the path of the checkpoint',
    'data_root': 'link the data set there, or set the environment variable that the config names (docs/data.md)',
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
    """
    parts = ['test_dataloader'] if not training else ['model', 'train_dataloader', 'val_dataloader']
    problems = []
    for part in [*parts, 'load_from']:
        for full, name, path in named_files({part: cfg.get(part)}):
            if not osp.exists(path):
                problems.append(f'{full} = {path!r} does not exist: {REMEDIES[name]}')
    if problems:
        raise FileNotFoundError('the config names files that are not there:\n  ' + '\n  '.join(dict.fromkeys(problems)))
