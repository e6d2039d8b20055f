"""The cache for the cues of the training images, and the settings of a config that they depend on.

The filling stage writes the cache in its first epochs; tools/mine_cues.py can do so beforehand, without a training run.
"""
from __future__ import annotations

import json
import os.path as osp

import torch
from mmengine.config import Config

from mmiam.models.cues import CueCache

#: keys of ``model`` that the cues depend on, apart from the weights
_SETTINGS = ('backbone', 'peak_head', 'cue', 'data_preprocessor')


def open_cue_cache(model: torch.nn.Module, cfg: Config, work_dir: str, max_gb: float, processes: int = 1) -> CueCache:
    """Open the cache of a run, in a folder of ``<work_dir>/cue_cache`` for exactly these weights and settings.

    Args:
        model (nn.Module): an IAMNet with the classifier's weights.
        cfg (Config): the run's config.
        work_dir (str): the run's folder.
        max_gb (float): size that all processes together may fill.
        processes (int): number of processes that write to it at the same time.
    """
    settings = {key: cfg.model.get(key) for key in _SETTINGS}
    # where the weights came from does not matter: the weights themselves are part of the fingerprint
    settings['backbone'] = {key: value for key, value in settings['backbone'].items() if key != 'init_cfg'}
    settings.update(candidates=model.sampler.candidate_fingerprint(),
                    pipelines=find_pipelines(cfg.get('train_dataloader')))
    described = json.dumps(settings, sort_keys=True, default=repr)
    parts = [*model.classifier_parts(), model.cue]
    return CueCache(osp.join(work_dir, 'cue_cache'), parts, described, max_gb, processes)


def find_pipelines(config: object) -> list:
    """Find the pipelines of a data set and of those that it wraps."""
    if isinstance(config, dict):
        own = [config['pipeline']] if config.get('pipeline') else []
        return own + [found for key, value in config.items() if key != 'pipeline' for found in find_pipelines(value)]
    return [found for one in config for found in find_pipelines(one)] if isinstance(config, (list, tuple)) else []


def find_inner_datasets(config: dict) -> list[dict]:
    """Find the data sets inside others (ConcatDataset, RepeatDataset, ClassBalancedDataset), each once."""
    inner = config.get('datasets') or ([config['dataset']] if isinstance(config.get('dataset'), dict) else [])
    return [found for one in inner for found in find_inner_datasets(one)] or [config]
