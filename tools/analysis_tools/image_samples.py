"""Data sets as the analyses read them: which samples, their annotation, and what the network takes."""
from __future__ import annotations

from typing import NamedTuple

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import numpy as np
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmiam.utils.rle import decode_masks


def build_dataset(config: dict):
    """The data set of a config such as ``cfg.test_dataloader.dataset``."""
    init_default_scope('mmdet')
    return DATASETS.build(config)


class Truth(NamedTuple):
    """Annotation of an image: masks (g, H, W) bool, labels (g,), void (H, W) bool or None."""
    masks: np.ndarray
    labels: np.ndarray
    void: np.ndarray | None


def read_truth(sample: DetDataSample) -> Truth:
    """Annotation of a test sample, without instances to be ignored.

    Raises:
        ValueError: if the pipeline does not read it.
    """
    if 'instances' not in sample:
        raise ValueError('the test pipeline gives no ground truth; put dict(type="LoadVOCInstances") into it')
    size, void = tuple(sample.ori_shape[:2]), sample.get('void_mask')
    instances = [one for one in sample.instances if not one.get('ignore_flag', 0)]
    return Truth(decode_masks([one['mask'] for one in instances], size),
                 np.array([one['bbox_label'] for one in instances], int),
                 None if void is None else decode_masks([void], size)[0])


def mask_iou(mask: np.ndarray, others: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """IoU of a mask (H, W) with each of others (n, H, W), bool -> (n,); void (H, W) counts nowhere; 0 of nothing."""
    valid = np.ones_like(mask) if void is None else ~void
    union = ((mask | others) & valid).sum((1, 2))
    return (mask & others & valid).sum((1, 2)) / np.maximum(union, 1)


def evenly_spread(count: int, number: int | None) -> list[int]:
    """``number`` (None: all) of the indices below ``count``, from the first to the last."""
    number = count if number is None else min(number, count)
    return np.unique(np.linspace(0, count - 1, number).round().astype(int)).tolist()


def batch_of(model: nn.Module, packed: dict) -> tuple[Tensor, list[DetDataSample]]:
    """A sample of a pipeline as a batch of one: normalized images (1, 3, h, w) and data samples."""
    data = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
    return data['inputs'], data['data_samples']


def filled_cues(model: nn.Module, packed: dict) -> tuple[Tensor, InstanceData, DetDataSample, tuple]:
    """What a model finds on a sample before masks are made of it: image, RGB (3, H, W), and cues, with ``iams`` if the
    model fills, at original size; the data sample; the backbone's outputs."""
    inputs, samples = batch_of(model, packed)
    feats, _, cues = model.find_cues(inputs, samples)
    if model.filler is not None:
        cues[0].iams = model.fill(feats, cues)[0]
    image, cue = model.to_original(inputs[0], cues[0], samples[0])
    return image, cue, samples[0], feats
