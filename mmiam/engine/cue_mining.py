"""Mining: the cues of the training images and the proposals that match them, made ahead of the filling stage.

The filling stage makes them in its first epochs anyway and keeps them on disk (:class:`CueCache`). Made ahead, they
need no training run, and processes that do not talk to each other share the images.
"""
from __future__ import annotations

import json
import os.path as osp
from collections.abc import Iterable, Iterator, Sequence

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset

from mmiam.models.cues import CueCache
from mmiam.utils.checkpoints import check_fit, classes_of, match_classes, read_checkpoint, state_dict_of

from .safe_loading import safe_loader

#: what the cues depend on beside the weights, among the keys of ``model``
_SETTINGS = ('backbone', 'peak_head', 'cue', 'data_preprocessor')


def open_cue_cache(model: torch.nn.Module, cfg: Config, work_dir: str, max_gb: float, processes: int = 1) -> CueCache:
    """The cache of a run in ``<work_dir>/cue_cache``, in a folder for these very weights and settings.

    Args:
        model (nn.Module): an IAMNet with the classifier's weights.
        cfg (Config): the run's config.
        work_dir (str): the run's folder.
        max_gb (float): what all processes together may fill.
        processes (int): that write into it at the same time.
    """
    settings = {key: cfg.model.get(key) for key in _SETTINGS}
    # where the weights came from does not matter: they are part of the fingerprint themselves
    settings['backbone'] = {key: value for key, value in settings['backbone'].items() if key != 'init_cfg'}
    settings.update(candidates=model.sampler.candidate_fingerprint(),
                    pipelines=find_pipelines(cfg.get('train_dataloader')))
    described = json.dumps(settings, sort_keys=True, default=repr)
    parts = [*model.classifier_parts(), model.cue]
    return CueCache(osp.join(work_dir, 'cue_cache'), parts, described, max_gb, processes)


def find_pipelines(config: object) -> list:
    """Pipelines of a data set and of those that it wraps."""
    if isinstance(config, dict):
        own = [config['pipeline']] if config.get('pipeline') else []
        return own + [found for key, value in config.items() if key != 'pipeline' for found in find_pipelines(value)]
    return [found for one in config for found in find_pipelines(one)] if isinstance(config, (list, tuple)) else []


def load_classifier_model(cfg: Config, checkpoint: str, device: str | torch.device = 'cpu',
                          classes: Sequence[str] | None = None) -> torch.nn.Module:
    """The config's model in the filling stage, with the weights of a trained classifier.

    Args:
        cfg (Config): the config.
        checkpoint (str): with the weights of backbone and head.
        device (str | torch.device): where to.
        classes (Sequence[str], optional): the data set's; class scores are brought into their order.

    Raises:
        FileNotFoundError, ValueError: if the checkpoint is missing, refused, or not one of this classifier.
    """
    content = read_checkpoint(checkpoint)
    state = state_dict_of(content, checkpoint)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    config = Config(dict(model=cfg.model)).model
    config.backbone.init_cfg = None  # the checkpoint has the weights
    model = MODELS.build(config)
    model.set_stage('fill')
    with safe_loader():
        model.init_weights()  # a cue of its own reads its file
    check_fit(model, state, checkpoint, ('backbone', 'peak_head'))
    if classes is not None:
        match_classes(state, classes_of(content), classes, checkpoint)
    own = model.state_dict()
    model.load_state_dict({name: value for name, value in state.items()
                           if name in own and not name.startswith('filler.')}, strict=False)
    return model.to(device).train()


def inner_datasets(config: dict) -> list[dict]:
    """The data sets that others are made of (ConcatDataset, RepeatDataset, ClassBalancedDataset), each once."""
    inner = config.get('datasets') or ([config['dataset']] if isinstance(config.get('dataset'), dict) else [])
    return [found for one in inner for found in inner_datasets(one)] or [config]


def training_views(cfg: Config) -> Iterator:
    """Each training data set once as it is, and once for each direction in which its pipeline flips."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    for dataset in inner_datasets(cfg.train_dataloader.dataset):
        steps = dataset.get('pipeline') or []
        directions = [step.get('direction', 'horizontal') for step in steps if step['type'] == 'RandomFlip']
        directions = [name for entry in directions for name in ([entry] if isinstance(entry, str) else entry)]
        for direction in (None, *dict.fromkeys(directions)):
            flip = dict(prob=0.) if direction is None else dict(prob=1., direction=direction)
            changed = [dict(step, **flip) if step['type'] == 'RandomFlip' else step for step in steps]
            yield DATASETS.build(dict(dataset, pipeline=changed))


class _Samples(Dataset):
    """Samples of a data set by number, each with its number; in place of one that fails its error."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[int, dict | str]:
        try:
            return index, self.dataset[index]
        except Exception as error:  # whatever one image sets off must not cost the others
            return index, str(error) or type(error).__name__


def _as_it_is(sample):
    return sample


def mine(model: torch.nn.Module, dataset, indices: Iterable[int], workers: int = 0) -> tuple[int, dict[str, str]]:
    """Fill the model's cache with the cues of some samples; what is there is kept.

    Args:
        model (nn.Module): of :func:`load_classifier_model`, with ``cue_cache``.
        dataset: one of :func:`training_views`.
        indices (Iterable[int]): the samples of this process.
        workers (int): processes that read the samples ahead; 0 reads them in this one, each when its turn comes.

    Returns:
        tuple[int, dict[str, str]]: how many were there already; path and error of each that failed.

    Raises:
        ValueError: if the cache is full.
    """
    kept, failed = 0, {}
    loader = DataLoader(_Samples(dataset), batch_size=None, sampler=indices, num_workers=workers,  # type: ignore
                        collate_fn=_as_it_is, pin_memory=torch.cuda.is_available())
    for index, sample in loader:
        try:
            if isinstance(sample, str):
                raise ValueError(sample)
            data = model.data_preprocessor(pseudo_collate([sample]), training=True)
        except Exception as error:
            failed[dataset.image_path(index)] = str(error) or type(error).__name__
        else:
            sample, = data['data_samples']
            if model.cue_cache.has(sample):
                kept += 1
            else:
                model.training_cues(data['inputs'], [sample])
                if not model.cue_cache.has(sample):
                    raise ValueError(f'{model.cue_cache.folder} takes no more: raise cache_gb of TrainingStageHook '
                                     '(in custom_hooks), or make room on the disk')
    return kept, failed
