"""Makes the cues of the training images, and the proposals that match them, ahead of the filling stage.

    python tools/mine_cues.py CONFIG CHECKPOINT

They are kept in WORK_DIR/cue_cache, where a training of the filling module with these weights and the same work dir
finds them. What is there is kept, so a killed run goes on where it was. Several processes or machines share the images
by --shard; they need not talk to each other.
"""
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset

from mmiam.apis.options import device_name, given_config, make_parser, tool
from mmiam.engine import check_config_files
from mmiam.engine.cue_caching import find_inner_datasets, open_cue_cache
from mmiam.engine.frozen_training.features import load_model
from mmiam.utils.checkpoints import (
    check_class_count,
    check_fit,
    classes_of,
    match_classes,
    read_checkpoint,
    state_dict_of,
)
from mmiam.utils.jobs import shard_index, take_shard, with_bar


def load_classifier_model(cfg: Config, checkpoint: str, device: str, classes: Sequence[str]) -> torch.nn.Module:
    """The config's model in the filling stage, with the weights of a trained classifier.

    Args:
        cfg (Config): the config.
        checkpoint (str): with the weights of backbone and head.
        device (str): where to.
        classes (Sequence[str]): the data set's; class scores are brought into their order.

    Raises:
        FileNotFoundError, ValueError: if the checkpoint is missing, refused, or not one of this classifier.
    """
    content = read_checkpoint(checkpoint)
    state, model = state_dict_of(content, checkpoint), load_model(cfg)
    check_fit(model, state, checkpoint, ('backbone', 'peak_head'))
    check_class_count(state, classes_of(content), checkpoint)
    match_classes(state, classes_of(content), classes, checkpoint)
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith('filler.')},
                          strict=False)
    return model.to(device)


def training_views(cfg: Config) -> Iterator:
    """Each training data set once as it is, and once for each direction in which its pipeline flips."""
    for dataset in find_inner_datasets(cfg.train_dataloader.dataset):
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


def mine(model: torch.nn.Module, dataset, indices: Iterable[int], workers: int) -> tuple[int, dict[str, str]]:
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


@tool
def main(argv=None) -> int:
    args = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options', '--work-dir', '--shard'
                       ).parse_args(argv)
    cfg = given_config(args)
    cfg.model.backbone.init_cfg = None  # the checkpoint has the weights
    hooks = [hook for hook in cfg.get('custom_hooks', []) if hook['type'] == 'TrainingStageHook']
    if not hooks or not hooks[0].get('cache_cues', True):
        raise ValueError(f'{args.config} keeps no cues; it needs TrainingStageHook with cache_cues=True')
    check_config_files(cfg, training=True)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    views = list(training_views(cfg))
    model = load_classifier_model(cfg, args.checkpoint, device_name(args.device), views[0].metainfo['classes'])
    model.cue_cache = open_cue_cache(model, cfg, cfg.work_dir, hooks[0].get('cache_gb', 20.),
                                     shard_index(args.shard)[1])
    total, kept, failed = 0, 0, {}
    for number, view in enumerate(views, 1):
        indices = take_shard(list(range(len(view))), args.shard)
        total += len(indices)
        there, errors = mine(model, view, with_bar(indices, len(indices), f'view {number} of {len(views)}'),
                             cfg.train_dataloader.get('num_workers', 0))
        kept += there
        failed |= errors
    for path, error in failed.items():
        print(f'failed: {path}: {error}', file=sys.stderr)
    print(f'{total} views, {kept} of them were there already; {model.cue_cache.folder}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
