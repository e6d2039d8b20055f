"""Masks for people who only have an image."""
from __future__ import annotations

import os
import os.path as osp
import warnings
from collections.abc import Iterator

import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmiam.engine import read_checkpoint, safe_loader
from mmiam.engine.download import fetch

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def init_model(config: str | Config, checkpoint: str | None = None, device: str | None = None,
               cfg_options: dict | None = None) -> torch.nn.Module:
    """A model ready for :func:`mmdet.apis.inference_detector`.

    Args:
        config (str | Config): config file, or a config.
        checkpoint (str, optional): weights. They are read by torch's safe loader. Class names are those in a
            checkpoint, else those of the config's test data set.
        device (str, optional): defaults to the first CUDA device where there is one, else the CPU.
        cfg_options (dict, optional): settings to override.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if the checkpoint is damaged, or would run something when it is loaded.
    """
    for name, path in (('config', config), ('checkpoint', checkpoint)):
        if isinstance(path, str) and '://' not in path and not osp.isfile(path):
            raise FileNotFoundError(f'{name} {path} does not exist')
    if checkpoint is not None and checkpoint.startswith(('http://', 'https://')):
        checkpoint = fetch(checkpoint)
    named = checkpoint is not None
    if named and '://' not in checkpoint:
        meta = read_checkpoint(checkpoint, map_location='meta').get('meta') or {}
        named = 'dataset_meta' in meta or 'CLASSES' in meta
    config = Config.fromfile(config) if isinstance(config, str) else config
    config.model.backbone.init_cfg = None  # the checkpoint has the weights
    device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    with safe_loader():
        model = init_detector(config, checkpoint, device=device, cfg_options=cfg_options)
    if not named:  # mmdet takes COCO's names then; the config knows the model's own
        dataset = dict(config.test_dataloader.dataset, lazy_init=True)
        model.dataset_meta = dict(DATASETS.build(dataset).metainfo)
    return model


def image_files(source: str) -> list[str]:
    """Image paths behind a file, a folder (its image files, sorted) or a text file of paths.

    Relative paths in a text file are relative to its folder.

    Raises:
        FileNotFoundError: if ``source`` or a path in the list does not exist.
        ValueError: if there is no image.
    """
    if osp.isdir(source):
        paths = [osp.join(source, name) for name in sorted(os.listdir(source))
                 if name.lower().endswith(IMAGE_SUFFIXES)]
    elif source.lower().endswith('.txt'):
        if not osp.isfile(source):
            raise FileNotFoundError(f'{source} does not exist')
        with open(source, encoding='utf-8') as file:
            lines = [line.strip() for line in file if line.strip()]
        paths = [osp.join(osp.dirname(source), line) for line in lines]
    else:
        paths = [source]
    missing = [path for path in paths if not osp.isfile(path)]
    if missing:
        raise FileNotFoundError(f'{missing[0]} does not exist ({len(missing)} of {len(paths)} images are missing)')
    if not paths:
        raise ValueError(f'{source} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return paths


def predict_files(model: torch.nn.Module, paths: list[str]) -> Iterator[tuple[str, DetDataSample | None]]:
    """Predict images one by one; an unreadable image gives a warning and None, and the rest goes on."""
    for path in paths:
        try:
            yield path, inference_detector(model, path)
        except (AssertionError, AttributeError, OSError, ValueError) as error:
            if readable(path):
                raise
            warnings.warn(f'{path} is not an image or is broken; it is left out ({error})', stacklevel=2)
            yield path, None


def readable(path: str) -> bool:
    """Whether OpenCV can decode the file."""
    import mmcv
    try:
        return mmcv.imread(path) is not None
    except (OSError, ValueError):
        return False
