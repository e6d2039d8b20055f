"""Step 1: run the frozen backbone, and store its outputs once and for all."""
from __future__ import annotations

import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmiam.utils.checkpoints import check_fit, fingerprint, read_checkpoint, state_dict_of
from mmiam.utils.files import CannotWrite, file_stamp
from mmiam.utils.jobs import with_bar

from ..cue_caching import find_inner_datasets
from ..safe_loading import safe_loader


def build_plain_dataset(cfg: Config, proposals: bool = True):
    """Build the training data set without random mirroring, with or without segment proposals.

    If it is wrapped in another (RepeatDataset, ClassBalancedDataset), each image counts once.

    Raises:
        ValueError: if it consists of several data sets (ConcatDataset).
    """
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    left_out = ('RandomFlip', ) if proposals else ('RandomFlip', 'LoadSegmentProposals', 'AlignSegmentProposals')
    dataset, *further = find_inner_datasets(cfg.train_dataloader.dataset)
    if further:
        raise ValueError(f'train_dataloader.dataset is made of {1 + len(further)} data sets, and features are stored '
                         'of one: name all images in one list')
    steps = [step for step in dataset['pipeline'] if step['type'] not in left_out]
    return DATASETS.build(dict(dataset, pipeline=steps))


def load_model(cfg: Config, weights: str | None = None) -> nn.Module:
    """Build the config's model: the backbone's weights come from ``init_cfg``, those of the filler from ``weights``."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    model = MODELS.build(cfg.model)
    model._dump_init_info = lambda: None  # mmengine would log every parameter
    with safe_loader():
        model.init_weights()
    if weights is not None:
        state = state_dict_of(read_checkpoint(weights), weights)
        check_fit(model, state, weights, ['filler'])
        model.filler.load_state_dict({name[7:]: value for name, value in state.items() if name.startswith('filler.')})
    model.set_stage('fill')
    return model.train()


class FeatureStore:
    """Outputs of the frozen backbone for both views of N images, as half floats in one memory-mapped file per level.

    Args:
        folder (str): folder made by :func:`store_features`.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.levels = {int(name[:-4]): np.load(osp.join(folder, name), mmap_mode='r+')
                       for name in os.listdir(folder) if name[:-4].isdigit()}
        self.done = np.load(osp.join(folder, 'done.npy'), mmap_mode='r+')

    def read(self, images: Sequence[int], views: Sequence[int], level: int, device='cpu') -> Tensor:
        """Read stored features of one level: float (len(images), channels, h, w)."""
        stored = self.levels[level]
        return torch.from_numpy(np.stack([stored[i, v] for i, v in zip(images, views)])).to(device).float()


def store_features(model: nn.Module, dataset, root: str, indices: Iterable[int] | None = None, settings: str = ''
                   ) -> tuple[FeatureStore, dict[str, str]]:
    """Run the backbone once over both views of each image; what is stored already is kept.

    Args:
        model (IAMNet): model from :func:`load_model`.
        dataset: data set from :func:`build_plain_dataset`.
        root (str): folder for stores. Several runs may share it, since the store is named after its images, settings
            and weights.
        indices (Iterable[int], optional): images that this process handles, all by default.
        settings (str): anything else that the features depend on.

    Returns:
        tuple[FeatureStore, dict[str, str]]: the store, and path and error of each image that cannot be read.

    Raises:
        ValueError: if the pipeline yields images of different sizes, or no image can be read.
    """
    levels = sorted({*model.filler.in_indices, len(model.backbone.out_indices) - 1})
    paths = [dataset.image_path(i) for i in range(len(dataset))]
    stamps = [file_stamp(path) for path in paths]
    folder = osp.join(root, 'features-' + fingerprint(paths, stamps, repr(dataset.pipeline), model.backbone, levels,
                                                      settings))
    failed, store = {}, FeatureStore(folder) if osp.isdir(folder) else None
    wanted = list(range(len(dataset)) if indices is None else indices)
    left = [i for i in wanted if store is None or not store.done[i]]
    for i in with_bar(left, len(left), 'features'):
        try:
            batch = model.data_preprocessor(pseudo_collate([dataset[i]]))
        except (OSError, ValueError) as error:
            failed[paths[i]] = str(error)
            continue
        image = batch['inputs']
        feats = _features(model, torch.cat([image, image.flip(-1)]), levels)
        if store is None:
            _make_store(folder, {level: (len(dataset), 2, *feat.shape[1:]) for level, feat in feats.items()})
            store = FeatureStore(folder)
        for level, feat in feats.items():
            if store.levels[level].shape[2:] != feat.shape[1:]:
                raise ValueError(f'{paths[i]}: features of shape {tuple(feat.shape[1:])}, those of other images '
                                 f'{store.levels[level].shape[2:]}; give Resize one size and keep_ratio=False')
            store.levels[level][i] = feat.half().cpu().numpy()
        store.done[i] = True
    if store is None:
        raise ValueError(f'none of the {len(wanted)} images can be read; the first: {next(iter(failed.values()), "")}')
    return store, failed


@torch.no_grad()
def _features(model: nn.Module, images: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
    """Compute some outputs, with those finer than the encoded map averaged to its size, as the filling module does."""
    feats = model.extract_feat(images)
    side = [-(-size // model.filler.stride) for size in images.shape[-2:]]
    small = {level: all(a > b for a, b in zip(feats[level].shape[-2:], side)) for level in levels[:-1]}
    return {level: F.adaptive_avg_pool2d(feats[level], side) if small.get(level) else feats[level] for level in levels}


def _make_store(folder: str, shapes: dict[int, tuple[int, ...]]) -> None:
    """Create files of zeros, all at the same moment; another process may be faster, and its files are then kept."""
    os.makedirs(osp.dirname(folder), exist_ok=True)
    temporary = tempfile.mkdtemp(dir=osp.dirname(folder))
    try:
        for level, shape in shapes.items():
            path = osp.join(temporary, f'{level}.npy')
            np.lib.format.open_memmap(path, 'w+', np.float16, shape)
            if hasattr(os, 'posix_fallocate'):  # a mapped file that finds no room kills the process
                with open(path, 'r+b') as file:
                    os.posix_fallocate(file.fileno(), 0, osp.getsize(path))
        np.save(osp.join(temporary, 'done.npy'), np.zeros(next(iter(shapes.values()))[0], bool))
    except OSError as error:
        shutil.rmtree(temporary)
        raise CannotWrite(error.errno, error.strerror or str(error), folder) from error
    try:
        os.rename(temporary, folder)
    except OSError:
        shutil.rmtree(temporary)
        if not osp.isdir(folder):
            raise
