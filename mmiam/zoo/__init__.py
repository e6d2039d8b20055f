"""The published models by name. Their weights are in this folder, so nothing is downloaded."""
from __future__ import annotations

import os

from mmiam.engine.model_zoo import fetch_weights, find_index, load_models

#: short name -> name in the model index
PUBLISHED = dict(voc20='iam-plus_lite2_voc', imagenet='iam-plus_lite2_imagenet')


def config_file(name: str) -> str:
    """Find the config of a model, given by short name, name in the model index, or folder of a ``mmiam label`` run.

    Raises:
        ValueError: if the name is unknown.
        FileNotFoundError: if the folder is not that of a finished run.
    """
    if os.path.isdir(name):
        return _in_folder(name, 'config.py')
    models = load_models()
    entry = models.get(PUBLISHED.get(name, name))
    if entry is None:
        raise ValueError(f'no model {name!r}; published are {", ".join(PUBLISHED)}, others are named in '
                         'model-index.yml; a folder of mmiam label is one too')
    return str(find_index().parent / entry['Config'])


def weights_file(name: str) -> str:
    """Find the weights of a model, named as for :func:`config_file`; the sha256 of published weights is checked."""
    if os.path.isdir(name):
        return _in_folder(name, 'model.pth')
    return fetch_weights(PUBLISHED.get(name, name), progress=False)


def weights_of_config(path: str) -> str:
    """Find the weights published for a config file.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if no weights are published for it.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'config {path} does not exist')
    name = os.path.splitext(os.path.basename(path))[0]
    if not load_models().get(name, {}).get('Weights'):
        raise ValueError(f'no weights are published for {path}: give --weights CHECKPOINT, or train them by '
                         f'"python tools/train.py {path}". With random weights masks mean nothing (--random)')
    return fetch_weights(name, progress=False)


def _in_folder(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{folder} has no {name}: it is not the folder of a finished run of mmiam label')
    return path
