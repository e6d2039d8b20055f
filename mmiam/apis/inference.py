"""From config, checkpoint and image files to predictions."""
from __future__ import annotations

import os.path as osp
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
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
from mmiam.utils.images import IMAGE_SUFFIXES, check_array, list_images, read_image

#: suffixes of image formats that neither OpenCV nor Pillow reads
OTHER_SUFFIXES = ('.heic', '.heif', '.avif', '.jxl', '.dng', '.cr2', '.cr3', '.nef', '.arw', '.orf', '.raf', '.rw2')


def read_config(config: str | Config) -> Config:
    """Read a config file; a config that is read already is returned as it is.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not isinstance(config, str):
        return config
    if not osp.isfile(config):
        raise FileNotFoundError(f'config {config} does not exist')
    return Config.fromfile(config)


def init_model(config: str | Config, checkpoint: str | None = None, device: str | None = None,
               cfg_options: dict | None = None, classes: Sequence[str] | None = None) -> torch.nn.Module:
    """Make a model ready for :func:`mmdet.apis.inference_detector`.

    Args:
        config (str | Config): config file, or a config.
        checkpoint (str, optional): file or address of the weights. They are read by torch's safe loader and must fit
            the model (:func:`check_fit`). Class names are those in the checkpoint, or else those of the config's test
            data set.
        device (str, optional): by default the first CUDA device if there is one, or else the CPU.
        cfg_options (dict, optional): settings that override those of the config.
        classes (Sequence[str], optional): classes of the data set whose labels predictions are compared with. Class
            scores are reordered to match them (:func:`match_classes`), unless the model's cue has a classifier of its
            own.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if the checkpoint is damaged, would execute code when loaded, or belongs to another model or to
            other classes.
    """
    config = read_config(config)
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


def find_images(*sources: str) -> list[str]:
    """Find the images that files, folders and text files stand for, each once, in order.

    A folder stands for all images in it and below it (see :func:`list_images`), a text file (``.txt``) for the paths
    that it lists, one per line; relative ones are relative to the folder of the text file. Photos in formats that
    cannot be read (:data:`OTHER_SUFFIXES`) are found as well, so that the caller can say so instead of skipping them
    silently.

    Raises:
        FileNotFoundError: if a source or a path in a list does not exist, or there is no image at all.
    """
    found: dict[str, str] = {}
    for source in sources:
        if osp.isdir(source):
            suffixes = IMAGE_SUFFIXES + OTHER_SUFFIXES
            paths = [osp.join(source, name) for name in list_images(source, recursive=True, suffixes=suffixes)]
        elif source.lower().endswith('.txt') and osp.isfile(source):
            paths = [osp.join(osp.dirname(source), line) for _, line in read_lines(source)]
        else:
            paths = [source]
        missing = [path for path in paths if not osp.exists(path)]
        if missing:
            raise FileNotFoundError(f'{missing[0]} does not exist' + (
                f' ({len(missing)} of {len(paths)} images are missing)' if len(paths) > 1 else ''))
        for path in paths:
            found.setdefault(osp.realpath(path), path)
    if not found:
        raise FileNotFoundError(f'no image in {", ".join(sources)}; images are {", ".join(IMAGE_SUFFIXES)}')
    return list(found.values())


def output_names(paths: list[str]) -> list[str]:
    """Choose a name for what is written about each image: that of its file, or if two stems are equal, a longer one.

    The longer names are paths relative to the folder that all images have in common. If two of them differ only in the
    suffix, it is repeated in the stem (``a_png.png``), so that files named after the stem do not collide.
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


def prepare(model: torch.nn.Module, image: str | np.ndarray, **given) -> dict:
    """Run an image through the test pipeline of a model, to get a batch of one for ``test_step``.

    Args:
        model (IAMNet): model from :func:`init_model`.
        image (str | ndarray): file, or array (H0, W0, 3) in BGR.
        **given: what else the pipeline receives.

    Raises:
        ValueError: if the array is not an image.
    """
    steps = list(model.cfg.test_dataloader.dataset.pipeline)
    if isinstance(image, str):
        given['img_path'] = image
    else:
        check_array(image)
        given['img'], steps[0] = np.ascontiguousarray(image), dict(type='mmdet.LoadImageFromNDArray')
    return pseudo_collate([Compose(steps)(dict(given, img_id=0))])


def tiled(model: torch.nn.Module) -> Callable[[str], DetDataSample]:
    """Make a function that predicts an image file with the test-time augmentation of the model's config."""
    augmented, pipeline = MODELS.build(dict(model.cfg.tta_model, module=model)), Compose(model.cfg.tta_pipeline)

    def predict(path: str) -> DetDataSample:
        views = pipeline(dict(img_path=path, img_id=0))
        with torch.no_grad():
            return augmented.test_step({name: [[view] for view in values] for name, values in views.items()})[0]

    return predict


def predict_files(model: torch.nn.Module, paths: list[str], predict: Callable[[str], DetDataSample] | None = None
                  ) -> Iterator[tuple[str, DetDataSample | None]]:
    """Predict images one by one, and yield each path with its prediction.

    A file that is not an image, or whose scores are NaN, gives a warning and None.

    Args:
        model (IAMNet): model from :func:`init_model`.
        paths (list[str]): image files.
        predict (callable, optional): function that predicts a file; by default, the model predicts the whole image at
            once.
    """
    for path in paths:
        sample = None
        try:
            read_image(path)  # checks the whole file: OpenCV would silently fill in what is missing
        except (OSError, ValueError) as error:
            warnings.warn(f'{error}; it is left out', stacklevel=2)
        else:
            try:
                sample = predict(path) if predict else inference_detector(model, path)
                check_predictions([sample])
            except FloatingPointError as error:
                warnings.warn(f'{error}; it is left out', stacklevel=2)
                sample = None
        yield path, sample
