"""Masks for people who only have an image."""
from __future__ import annotations

import os.path as osp
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from mmiam.engine import safe_loader
from mmiam.engine.hooks.finite_check_hook import check_predictions
from mmiam.utils.checkpoints import (
    check_class_count,
    check_fit,
    check_packages,
    classes_of,
    dataset_meta_of,
    match_classes,
    read_checkpoint,
    reads_own_head,
    state_dict_of,
)
from mmiam.utils.files import read_lines
from mmiam.utils.images import IMAGE_SUFFIXES, list_images, read_image


def init_model(config: str | Config, checkpoint: str | None = None, device: str | None = None,
               cfg_options: dict | None = None, classes: Sequence[str] | None = None) -> torch.nn.Module:
    """A model ready for :func:`mmdet.apis.inference_detector`.

    Args:
        config (str | Config): config file, or a config.
        checkpoint (str, optional): weights, a file or an address. They are read by torch's safe loader and must fit
            the model (:func:`check_fit`). Class names are those in a checkpoint, else those of the config's test data
            set.
        device (str, optional): defaults to the first CUDA device where there is one, else the CPU.
        cfg_options (dict, optional): settings to override.
        classes (Sequence[str], optional): the data set's, whose labels predictions are compared with; class scores are
            brought into their order (:func:`match_classes`), unless the model's cue has a classifier of its own.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if the checkpoint is damaged, would run something when it is loaded, or is of another model, or of
            other classes.
    """
    if isinstance(config, str):
        if not osp.isfile(config):
            raise FileNotFoundError(f'config {config} does not exist')
        config = Config.fromfile(config)
    config.merge_from_dict(cfg_options or {})
    config.model.backbone.init_cfg = None  # the checkpoint has the weights
    init_default_scope(config.get('default_scope') or 'mmdet')
    content = read_checkpoint(checkpoint) if checkpoint is not None else {}
    found, stored = classes_of(content), dataset_meta_of(content)
    metainfo = dict(DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True)).metainfo)
    with safe_loader():
        model = revert_sync_batchnorm(MODELS.build(config.model))
        if checkpoint is not None:
            state = state_dict_of(content, checkpoint)
            check_fit(model, state, checkpoint)
            check_class_count(state, found, checkpoint)
            check_packages(model, content, checkpoint)
            if classes is not None and reads_own_head(model) and match_classes(
                    state, found or metainfo.get('classes'), classes, checkpoint):
                print_log(f'{checkpoint} has the classes in another order; their scores were reordered to that of the '
                          f'data set, {tuple(classes)}', logger='current')
                found = tuple(classes)
            model.load_state_dict(state, strict=False)
    model.dataset_meta = metainfo if found is None else dict(
        stored, classes=found, palette=metainfo.get('palette') or stored.get('palette') or 'random')
    model.cfg = config
    return model.to(device or ('cuda:0' if torch.cuda.is_available() else 'cpu')).eval()


def image_files(source: str) -> list[str]:
    """Image paths behind a file, a folder (its image files, sorted) or a text file of paths.

    Relative paths in a text file are relative to its folder.

    Raises:
        FileNotFoundError: if ``source`` or a path in the list does not exist.
        ValueError: if there is no image.
    """
    if osp.isdir(source):
        paths = [osp.join(source, name) for name in list_images(source)]
    elif source.lower().endswith('.txt'):
        if not osp.isfile(source):
            raise FileNotFoundError(f'{source} does not exist')
        paths = [osp.join(osp.dirname(source), line) for _, line in read_lines(source)]
    else:
        paths = [source]
    missing = [path for path in paths if not osp.isfile(path)]
    if missing:
        raise FileNotFoundError(f'{missing[0]} does not exist ({len(missing)} of {len(paths)} images are missing)')
    if not paths:
        raise ValueError(f'{source} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return paths


def output_names(paths: list[str]) -> list[str]:
    """Names for what is written about images: their own, with folders below the common one where two would be equal.

    Two that differ in the suffix alone have it in the stem (``a_png.png``), for what is written by stem.
    """
    stem = [osp.splitext(osp.basename(path))[0] for path in paths]
    if len(set(stem)) == len(set(map(osp.abspath, paths))):
        return [osp.basename(path) for path in paths]
    common = osp.commonpath([osp.dirname(osp.abspath(path)) for path in paths])
    names = [osp.relpath(osp.abspath(path), common) for path in paths]
    of_stem: dict[str, set] = {}
    for name in names:
        of_stem.setdefault(osp.splitext(name)[0], set()).add(name)
    return [name if len(of_stem[osp.splitext(name)[0]]) == 1 else '{0}_{2}{1}'.format(
        *osp.splitext(name), osp.splitext(name)[1][1:]) for name in names]


def tiled(model: torch.nn.Module) -> Callable[[str], DetDataSample]:
    """Predicts an image file with the test-time augmentation of the model's config."""
    augmented, pipeline = MODELS.build(dict(model.cfg.tta_model, module=model)), Compose(model.cfg.tta_pipeline)

    def predict(path: str) -> DetDataSample:
        views = pipeline(dict(img_path=path, img_id=0))
        with torch.no_grad():
            return augmented.test_step({name: [[view] for view in values] for name, values in views.items()})[0]

    return predict


def predict_files(model: torch.nn.Module, paths: list[str], tiles: bool = False
                  ) -> Iterator[tuple[str, DetDataSample | None]]:
    """Predict images one by one; an image that is none, or whose scores are no numbers, gives a warning and None.

    With ``tiles`` each is predicted in windows too (:func:`tiled`), where the model's config says which.
    """
    predict = tiled(model) if tiles and 'tta_model' in model.cfg else partial(inference_detector, model)
    for path in paths:
        sample = None
        if is_whole(path):
            try:
                sample = predict(path)
                check_predictions([sample])
            except FloatingPointError as error:
                warnings.warn(f'{error}; it is left out', stacklevel=2)
                sample = None
        yield path, sample


def is_whole(path: str) -> bool:
    """Whether an image can be read to its end; else a warning says why not."""
    try:
        read_image(path)
    except (OSError, ValueError) as error:
        warnings.warn(f'{error}; it is left out', stacklevel=3)
        return False
    return True
