"""Pseudo labels: masks of a weakly labelled data set as COCO json, for fully supervised methods to train on.

Masks of an image are only of classes among its image-level labels. Legend: n instances of one image.
"""
from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
from collections.abc import Iterable, Mapping, Sequence

import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmiam.utils.files import sha256_of, write_json
from mmiam.version import __version__

from .coco_results import CocoResults
from .part_files import PartFiles

#: steps of a test pipeline that read masks; none is read here
MASK_READERS = ('LoadVOCInstances', 'LoadAnnotations')


def labelled_dataset(cfg: Config, split: str = 'train'):
    """The images and image-level labels of ``<split>_dataloader``, through the pipeline of the test.

    Images without any label are left out, as in training, for they can have no mask.

    Raises:
        KeyError: if the config has no such data loader.
        ValueError: if the data set does not give image-level labels.
    """
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    if dataset is None:
        raise KeyError(f'the config has no {split}_dataloader.dataset to label')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    steps = [step for step in cfg.test_dataloader.dataset.pipeline if step['type'] not in MASK_READERS]
    built = DATASETS.build(dict(dataset, pipeline=steps, test_mode=False))
    if not hasattr(built, 'image_name'):
        raise ValueError(f'{split}_dataloader.dataset is a {type(built).__name__}, which gives no image-level labels; '
                         'use VOCInstanceDataset or WeakLabelDataset')
    return built


def provenance(config: str, cfg: Config, checkpoint: str, names: Sequence[str], **settings) -> dict:
    """What the labels come from, for ``info`` of the file. No time, so that equal inputs give equal files.

    Args:
        config (str): path of the config as given.
        cfg (Config): the config with all settings.
        checkpoint (str): path of the weights.
        names (Sequence[str]): names of the images.
        **settings: whatever else the masks depend on.
    """
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    return dict(
        description='Instance masks predicted from image-level labels; not annotated by people',
        version=f'mmiam {__version__}', config=config, config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        checkpoint=osp.basename(checkpoint), checkpoint_sha256=sha256_of(checkpoint), num_images=len(names),
        images_sha256=hashlib.sha256('\n'.join(names).encode()).hexdigest(), **settings)


def shard_of_launcher(launcher: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """'rank/number of processes' under a launcher: 'pytorch' (torchrun) or 'slurm'; None for 'none'.

    The processes need not talk to each other.

    Raises:
        ValueError: if the launcher's variables are not set.
    """
    if launcher == 'none':
        return None
    keys = dict(pytorch=('RANK', 'WORLD_SIZE'), slurm=('SLURM_PROCID', 'SLURM_NTASKS'))[launcher]
    if not all(environment.get(key, '').isdigit() for key in keys):
        raise ValueError(f'--launcher {launcher}: {" and ".join(keys)} are not set; start with '
                         f'{"torchrun" if launcher == "pytorch" else "srun"}, or use --shard I/N')
    return '/'.join(environment[key] for key in keys)


def consistent(instances: InstanceData, labels: Sequence[int], min_score: float, keep_best: bool = False) -> Sequence:
    """Which instances to keep: of the image's labels and with at least ``min_score``.

    Args:
        instances (InstanceData): ``labels`` (n,) and ``scores`` (n,).
        labels (Sequence[int]): image-level labels.
        min_score (float): least score.
        keep_best (bool): of a label without any such instance, the best one all the same.

    Returns:
        Tensor: indices in descending order of score.
    """
    allowed = torch.isin(instances.labels, torch.as_tensor(list(labels), device=instances.labels.device))
    keep = allowed & (instances.scores >= min_score)
    if keep_best:
        for label in labels:
            of_label = (instances.labels == label).nonzero().flatten()
            if len(of_label) and not keep[of_label].any():
                keep[of_label[instances.scores[of_label].argmax()]] = True
    order = instances.scores.argsort(descending=True, stable=True)
    return order[keep[order]]


def image_part(name: str, sample: DetDataSample, classes: Sequence[str], min_score: float, keep_best: bool) -> dict:
    """COCO entries of one image: ``image`` (with ``category_ids``, its labels) and ``annotations``."""
    sample.pred_instances = sample.pred_instances[
        consistent(sample.pred_instances, sample.image_labels, min_score, keep_best)]
    results = CocoResults(classes)
    results.add(name, sample)
    image = dict(results.content['images'][0], category_ids=[label + 1 for label in sample.image_labels])
    return dict(image=image, annotations=results.content['annotations'])


def label_images(model: torch.nn.Module, dataset, parts: PartFiles, indices: Iterable[int], min_score: float = 0.,
                 keep_best: bool = False) -> dict[str, str]:
    """Predict images and write their parts; an image that cannot be read is left out, and the rest goes on.

    Args:
        model (nn.Module): of :func:`init_model`.
        dataset: of :func:`labelled_dataset`.
        parts (PartFiles): what is there is not made again.
        indices (Iterable[int]): the images of this process.
        min_score, keep_best: see :func:`consistent`.

    Returns:
        dict[str, str]: name and error of each image that failed.
    """
    test_cfg = getattr(model, 'test_cfg', None)
    if isinstance(test_cfg, dict) and 'use_image_labels' in test_cfg:
        test_cfg['use_image_labels'] = True  # no peak is spent on other classes
    failed = {}
    for index in indices:
        if not parts.has(index):
            name = dataset.image_name(index)
            try:
                data = dataset[index]
            except (OSError, ValueError) as error:
                failed[name] = str(error)
            else:
                with torch.no_grad():
                    sample, = model.test_step(pseudo_collate([data]))
                parts.write(index, image_part(name, sample, dataset.metainfo['classes'], min_score, keep_best))
    return failed


def merge_parts(parts: PartFiles, classes: Sequence[str], path: str) -> dict:
    """Put the parts together as one COCO file, written safely.

    Returns:
        dict: the content: ``info``, ``licenses``, ``images``, ``annotations``, ``categories``.

    Raises:
        ValueError: if parts are missing, or one is damaged.
    """
    missing = parts.missing()
    if missing:
        raise ValueError(f'{len(missing)} of {parts.count} images are not labelled yet')
    content = dict(info=parts.info, licenses=[], images=[], annotations=[],
                   categories=CocoResults(classes).content['categories'])
    for index in range(parts.count):
        part = parts.read(index)
        try:
            image, annotations = dict(part['image']), [dict(annotation) for annotation in part['annotations']]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f'{parts.path(index)} is damaged (no image and annotations in it); delete it and start '
                             'again, the rest is kept') from None
        content['images'].append(dict(image, id=index + 1))
        for annotation in annotations:
            content['annotations'].append(dict(annotation, id=len(content['annotations']) + 1, image_id=index + 1))
    write_json(path, content)
    return content
