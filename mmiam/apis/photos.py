"""Masks of photos for people to look at: one mask per region, legible pictures, files.

Legend: H, W image size; n instances of one image.
"""
from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.ops.mask_nms import mask_iou
from mmiam.utils.images import read_image, to_numpy, write_picture
from mmiam.visualization.overlays import overlay_instances

from .annotation_files import FORMATS, write_annotations
from .coco_results import CocoResults
from .inference import output_names, predict_files, tiled
from .prompts import PromptSession

#: least score of a mask that is shown; close to the best F1 of ``voc20`` on held-out images (docs/published_models.md)
MIN_SCORE = 0.6
#: of two masks with a higher IoU, only the better one is kept; within a class, this also holds if they share more than
#: this part of the smaller one
SAME_REGION = 0.5
PICTURE_SIDE = 1600


def index_names(classes: Sequence[str]) -> dict[str, int]:
    """Map the names of classes, in lower case, to labels; of equal names, the first counts.

    A class with several names ('tabby, tabby cat') is found by each of them, and by all together.
    """
    return {name.strip().lower(): label for label, names in reversed(list(enumerate(classes)))
            for name in (*names.split(','), names)}


def labels_of(tags: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Look up the labels of class names, in upper or lower case; any one of several names of a class will do.

    Raises:
        ValueError: if a name is not that of a class; suggests similar ones.
    """
    index = index_names(classes)
    unknown = [tag for tag in tags if tag.strip().lower() not in index]
    if unknown:
        import difflib
        near = difflib.get_close_matches(unknown[0].lower(), index, cutoff=0.5)
        raise ValueError(f'{unknown[0]!r} is none of the {len(classes)} classes'
                         + (f'; did you mean {", ".join(near)}?' if near else f': {", ".join(classes[:30])}'))
    return [index[tag.strip().lower()] for tag in tags]


def one_a_region(instances: InstanceData, min_score: float = 0., labels: Sequence[int] | None = None) -> InstanceData:
    """Keep one instance per region, among those with some labels (by default all) and ``min_score``; best first."""
    keep = instances.scores >= min_score
    if labels is not None:
        keep &= torch.isin(instances.labels, torch.as_tensor(labels, device=instances.labels.device))
    instances = instances[keep]
    instances = instances[instances.scores.argsort(descending=True, stable=True)]
    iou, areas = mask_iou(instances.masks, instances.masks), instances.masks.flatten(1).sum(1).clamp(min=1)
    common = iou * (areas[:, None] + areas) / (1 + iou)
    inside = common / torch.minimum(areas[:, None], areas)
    same = instances.labels[:, None] == instances.labels
    clash = (iou > SAME_REGION) | same & (inside > SAME_REGION)
    kept: list[int] = []
    for i in range(len(instances)):
        if not clash[i, kept].any():
            kept.append(i)
    return instances[torch.tensor(kept, dtype=torch.long, device=clash.device)]


def captions(instances: InstanceData, classes: Sequence[str]) -> list[str]:
    """Write a caption for each instance, such as 'cat 93%', with the first name of its class."""
    return [f'{classes[label].split(",")[0]} {100 * score:.0f}%'
            for label, score in zip(instances.labels.tolist(), instances.scores.tolist())]


def draw_photo(image: np.ndarray, instances: InstanceData, classes: Sequence[str]) -> np.ndarray:
    """Draw masks, outlines, and labels with percentages over a photo.

    Args:
        image (ndarray): RGB, uint8 (H, W, 3).
        instances (InstanceData): ``masks`` (n, H, W), ``labels`` (n,), ``scores`` (n,).
        classes (Sequence[str]): class names.

    Returns:
        ndarray: RGB, uint8, shrunk to at most 1,600 pixels a side.
    """
    scale = min(1., PICTURE_SIDE / max(image.shape[:2]))
    masks = to_numpy(instances.masks).astype(np.uint8)
    if scale < 1:
        sides = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
        image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
        masks = np.stack([cv2.resize(mask, sides, interpolation=cv2.INTER_NEAREST) for mask in masks]) \
            if len(masks) else np.zeros((0, *sides[::-1]), np.uint8)
    size = max(0.45, max(image.shape[:2]) / 1000)
    return overlay_instances(image, masks, captions(instances, classes), label_size=size)


def predict_photos(model: torch.nn.Module, paths: list[str], out: str, prompts: Sequence[Mapping] = (),
                   tags: Sequence[str] = (), min_score: float = MIN_SCORE, form: str = 'coco',
                   tiles: bool = False) -> Iterator[tuple[str, InstanceData | None, Sequence[str]]]:
    """Predict photos, and write ``out/pictures/…``, ``out/predictions.json`` (COCO) and, if asked to, another format.

    Args:
        model (IAMNet): model from :func:`init_model`.
        paths (list[str]): image files, see :func:`find_images`.
        out (str): folder to write to.
        prompts (Sequence[Mapping]): points and boxes, see :class:`PromptSession`; the result then consists of the masks
            at these.
        tags (Sequence[str]): names of classes, the only ones to be found; with prompts, at most one name, by which the
            objects are called.
        min_score (float): least score. It does not apply to prompts: a user knows that there is an object.
        form (str): 'coco' or one of :data:`FORMATS`.
        tiles (bool): for small objects, also look at the windows of a photo that the model's config names, if it names
            any; does not apply to prompts.

    Yields:
        tuple: path, instances (None if the photo cannot be read) and class names. Files that cover all photos are
        complete when the iteration has ended.

    Raises:
        ValueError: if a tag is unknown (before anything is predicted), or a prompt lies outside a photo.
    """
    classes = model.dataset_meta['classes']
    labels = labels_of(tags, classes) if tags and not prompts else None
    if prompts:
        classes = tuple(tags) or ('object', )
    results, names = CocoResults(classes), dict(zip(paths, output_names(paths)))
    predict = prompted(model, prompts) if prompts else tiled(model) if tiles and 'tta_model' in model.cfg else None
    for path, sample in predict_files(model, paths, predict):
        found = None
        if sample is not None:
            found = sample.pred_instances if prompts else one_a_region(sample.pred_instances, min_score, labels)
            found = found.cpu()
            results.add(path, sample.ori_shape, found)
            write_picture(osp.join(out, 'pictures', names[path]), draw_photo(read_image(path), found, classes))
        yield path, found, classes
    results.write(osp.join(out, 'predictions.json'))
    if form in FORMATS:
        write_annotations(results.content, out, form, names)


def prompted(model: torch.nn.Module, prompts: Sequence[Mapping]) -> Callable[[str], DetDataSample]:
    """Make a function that predicts the masks of an image file at prompts, which are the same for all files."""

    def predict(path: str) -> DetDataSample:
        session = PromptSession(model, path)
        sample = session.sample.clone()
        sample.pred_instances = session(prompts)
        return sample

    return predict
