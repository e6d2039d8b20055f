"""Pseudo labels: masks for a weakly labeled data set as COCO json, on which fully supervised methods can be trained.

The masks of an image only belong to classes among its image-level labels. Legend: n instances of one image.
"""
from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
from collections.abc import Callable, Mapping, Sequence

import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pooch import file_hash

from mmiam.engine.cue_caching import find_inner_datasets
from mmiam.engine.hooks.finite_check_hook import check_predictions
from mmiam.utils.files import file_stamp, is_number, write_json
from mmiam.utils.images import check_sides
from mmiam.utils.jobs import with_bar
from mmiam.utils.rle import check_rle
from mmiam.version import __version__

from .coco_results import CocoResults
from .options import sentence
from .part_files import PartFiles

#: steps of a test pipeline that read masks; they are left out here
MASK_READERS = ('LoadVOCInstances', 'LoadAnnotations')


class LabeledImages:
    """The images and image-level labels of ``<split>_dataloader``, loaded through the test pipeline.

    Images without any label are left out, as in training, since they cannot have a mask. Data sets that are wrapped in
    others (ConcatDataset, ClassBalancedDataset, ...) are unwrapped, and each image counts once.

    Args:
        cfg (Config): the config.
        split (str): 'train', 'val' or 'test'.

    Attributes:
        classes (tuple[str]): class names; the label is the position.
        category_ids (list): ids of the classes: those of the source if it states them, or else 1, 2, ...
        paths (list[str]): file of each image.
        labels (list[list[int]]): image-level labels of each image.
        names (list[str]): ``file_name`` of each image, relative to its image folder; if that would make two equal,
            relative to the folder that the image folders have in common.
        ids (list): ids of the images: those of the source if it states a different one for each, or else 1, 2, ...

    Raises:
        KeyError: if the config has no such data loader.
        ValueError: if a data set has no image-level labels, or two differ in their classes.
    """

    def __init__(self, cfg: Config, split: str = 'train'):
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        if dataset is None:
            raise KeyError(f'the config has no {split}_dataloader.dataset to label')
        init_default_scope(cfg.get('default_scope') or 'mmdet')
        steps = [step for step in cfg.test_dataloader.dataset.pipeline if step['type'] not in MASK_READERS]
        built = [DATASETS.build(dict(one, pipeline=steps, test_mode=False)) for one in find_inner_datasets(dataset)]
        for one in built:
            if not hasattr(one, 'image_name'):
                raise ValueError(f'{split}_dataloader.dataset is a {type(one).__name__}, which gives no image-level '
                                 'labels; use VOCInstanceDataset or WeakLabelDataset')
            if one.metainfo['classes'] != built[0].metainfo['classes']:
                raise ValueError(f'the data sets of {split}_dataloader have other classes: '
                                 f'{built[0].metainfo["classes"]}, {one.metainfo["classes"]}; give them one '
                                 'metainfo=dict(classes=...)')
        self.classes = built[0].metainfo['classes']
        seen: dict[str, tuple] = {}
        for one in built:
            for index in range(len(one)):
                seen.setdefault(osp.abspath(one.image_path(index)), (one, index))
        self._images = list(seen.values())
        infos = [one.entry(index) for one, index in self._images]
        self.paths = [info['img_path'] for info in infos]
        self.labels = [list(info['image_labels']) for info in infos]
        self.names = [one.image_name(index) for one, index in self._images]
        if len(set(self.names)) < len(self.names):
            root = osp.commonpath([osp.abspath(one.data_prefix['img']) for one in built])
            self.names = [osp.relpath(osp.abspath(path), root).replace(os.sep, '/') for path in self.paths]
        ids = [info.get('source_id') for info in infos]
        self.ids = ids if None not in ids and len(set(ids)) == len(ids) else list(range(1, len(ids) + 1))
        stated = [one.metainfo.get('category_ids') for one in built]
        same = stated[0] and all(one == stated[0] for one in stated) and all(name in stated[0] for name in self.classes)
        self.category_ids = ([stated[0][name] for name in self.classes] if same
                             else list(range(1, len(self.classes) + 1)))

    def __len__(self) -> int:
        return len(self._images)

    def sample(self, index: int) -> dict:
        """Run an image through the pipeline."""
        dataset, inner = self._images[index]
        return dataset[inner]

    def keys(self) -> list[str]:
        """Return what the masks of each image depend on besides the model: its name, tags, file size and file date."""
        tags = [[[label, self.category_ids[label]] for label in labels] for labels in self.labels]
        return [json.dumps(entry) for entry in zip(self.names, tags, map(file_stamp, self.paths))]


def provenance(config: str, cfg: Config, checkpoint: str, **settings) -> dict:
    """Describe where the labels come from, for ``info`` in the file; without a time, so equal inputs give equal files.

    Args:
        config (str): path of the config, as given.
        cfg (Config): the config with all settings.
        checkpoint (str): path of the weights.
        **settings: whatever else the masks depend on.
    """
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    return dict(
        description='Instance masks predicted from image-level labels; not annotated by people',
        version=f'mmiam {__version__}', config=config, config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        checkpoint=osp.basename(checkpoint), checkpoint_sha256=file_hash(checkpoint), **settings)


def consistent(instances: InstanceData, labels: Sequence[int], min_score: float, keep_best: bool = False) -> Sequence:
    """Choose the instances to keep: those that have a label of the image and at least ``min_score``.

    Args:
        instances (InstanceData): ``labels`` (n,) and ``scores`` (n,).
        labels (Sequence[int]): image-level labels.
        min_score (float): least score.
        keep_best (bool): if no instance of a label reaches ``min_score``, keep the best one.

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


def image_part(images: LabeledImages, index: int, sample: DetDataSample, min_score: float, keep_best: bool) -> dict:
    """Make the COCO entries of one image: ``image`` (with ``category_ids``, its labels) and ``annotations``.

    Their ids are provisional; :func:`merge_parts` sets the final ones.
    """
    found = sample.pred_instances
    results = CocoResults(images.classes, images.category_ids)
    results.add(images.names[index], sample.ori_shape, found[
        consistent(found, images.labels[index], min_score, keep_best)])
    image = dict(results.content['images'][0],
                 category_ids=[images.category_ids[label] for label in images.labels[index]])
    return dict(image=image, annotations=results.content['annotations'])


def label_images(make_model: Callable[[], torch.nn.Module], images: LabeledImages, parts: PartFiles,
                 indices: Sequence[int], min_score: float = 0., keep_best: bool = False) -> None:
    """Predict images and write their parts; if an image fails, record the error and go on.

    Args:
        make_model (callable): returns a model like :func:`init_model`; only called if there is something to predict.
        images (LabeledImages): images to label.
        parts (PartFiles): where the parts go; those that exist are kept.
        indices (Sequence[int]): the images of this process.
        min_score, keep_best: see :func:`consistent`.

    Raises:
        OSError: if a part cannot be written.
    """
    left = [index for index in indices if not parts.has(index)]
    if len(left) < len(indices):
        print(f'{len(indices) - len(left)} of {len(indices)} images are labeled already')
    if not left:
        return
    model = make_model()
    test_cfg = getattr(model, 'test_cfg', None)
    if isinstance(test_cfg, dict) and 'use_image_labels' in test_cfg:
        test_cfg['use_image_labels'] = True  # no peak is spent on other classes
    for index in with_bar(left, len(left), 'masks'):
        try:
            with torch.no_grad():
                sample, = model.test_step(pseudo_collate([images.sample(index)]))
            check_predictions([sample])
            part = image_part(images, index, sample, min_score, keep_best)
        except Exception as error:  # no error of one image may cost the others
            expected = isinstance(error, (OSError, ValueError, ArithmeticError))
            parts.write_failure(index, sentence(error) if expected else f'{type(error).__name__}: {sentence(error)}')
        else:
            parts.write(index, part)


def merge_parts(parts: PartFiles, images: LabeledImages, path: str) -> dict:
    """Merge the parts into one COCO file, written under a temporary name and renamed; its ``info`` lists failed images.

    Returns:
        dict: the content: ``info``, ``licenses``, ``images``, ``annotations``, ``categories``.

    Raises:
        ValueError: if parts are missing, one is damaged, or every image failed.
    """
    missing, failed = parts.missing(), parts.failures()
    if missing:
        raise ValueError(f'{len(missing)} of {len(images.names)} images are not labeled yet')
    if failed and len(failed) == len(images.names):
        raise ValueError(f'every image failed, nothing is written; {images.names[0]}: {failed[0]}')
    info = dict(parts.info, num_images=len(images.names) - len(failed),
                images_sha256=hashlib.sha256('\n'.join(images.names).encode('utf-8', 'surrogatepass')).hexdigest())
    if failed:
        info['failed'] = [dict(file_name=images.names[index], error=error) for index, error in failed.items()]
    content: dict = dict(info=info, licenses=[], **CocoResults(images.classes, images.category_ids).content)
    for index in range(len(images.names)):
        if index in failed:
            continue
        part = parts.read(index)
        try:
            _check_part(part, images, index)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f'{parts.path(index)} is damaged ({error}); delete it and start again, the rest is '
                             'kept') from None
        content['images'].append(dict(part['image'], id=images.ids[index]))
        for annotation in part['annotations']:
            content['annotations'].append(
                dict(annotation, id=len(content['annotations']) + 1, image_id=images.ids[index]))
    write_json(path, content)
    return content


def _check_part(part: Mapping, images: LabeledImages, index: int) -> None:
    """Raise an error unless a part contains the COCO entries of this image, with masks of its size."""
    image, annotations = part['image'], part['annotations']
    tags = [images.category_ids[label] for label in images.labels[index]]
    if image['file_name'] != images.names[index] or image['category_ids'] != tags:
        raise ValueError('it is of another image, or of other tags')
    size = check_sides(image['height'], image['width'], 'the image')
    for number, one in enumerate(annotations):
        if one['category_id'] not in tags:
            raise ValueError(f'annotation {number} is of a class that is not among the tags')
        check_rle(one['segmentation'], size, f'the mask of annotation {number}')
        if len(one['bbox']) != 4 or not all(map(is_number, (*one['bbox'], one['score'], one['area']))):
            raise ValueError(f'box, score and area of annotation {number} must be finite numbers')
