"""Cues given by a user: points and boxes.

A prompt is a dict with ``point=(x, y)`` or ``box=(x1, y1, x2, y2)``, both in pixels of the original image (x2 and y2
exclusive), and optionally ``label`` (int). A sample carries a list of them in ``prompts``; an empty list gives no cue.

Legend: n prompts of one image, H x W network input size (with padding), h x w the part that the image fills.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from .blobs import POINT_SIGMA, draw_gaussian
from .peak_cues import FoundCues


@MODELS.register_module()
class PromptCue(BaseModule):
    """A blob of response at each prompt; no classifier, no back-propagation, one filling pass.

    Not in the paper. How well a filling module answers prompts depends on its training: use :class:`PeakGaussianCue`
    with the same width, and ``train_cfg.prompt_ratio`` of :class:`IAMNet`.

    Attributes:
        point_sigma (float): width of a point's Gaussian, in units of sqrt(h w).
        box_sigma (float): widths of a box's Gaussian, in units of its sides; it is zero outside the box.
        logit (float): evidence for a prompt (raw logit), high because a user is not in doubt. It enters the scores.
    """

    point_sigma = POINT_SIGMA
    box_sigma = 0.25
    logit = 20.

    def forward(self, network, images: Tensor, data_samples: list[DetDataSample],
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Turn the prompts of each sample into cues, in the same order.

        Args:
            network (IAMNet): provides features and class scores.
            images (Tensor): normalized images, has shape (B, 3, H, W).
            data_samples (list[DetDataSample]): with prompts, ``ori_shape`` and ``img_shape``.
            image_labels (list[list[int]], optional): not used.

        Raises:
            KeyError: if a sample has no prompts.
            ValueError: if a prompt is malformed or lies outside its image; the message names the image.
        """
        cues = [self.cues_of(sample, images) for sample in data_samples]
        feats, scores = network.classify(images)
        return FoundCues(feats, scores, cues)

    def cues_of(self, sample: DetDataSample, images: Tensor) -> InstanceData:
        """Turn the prompts of one sample into cues; ``images`` (B, 3, H, W) only determine size and device.

        Returns:
            InstanceData: ``labels``, ``class_scores``, ``peak_scores`` (n,), ``peaks`` (n, 2) as (y, x) in pixels of
            the input, ``maps`` and ``cams`` (n, H, W) with maximum 1.
        """
        name = sample.get('img_path', 'a sample')
        if 'prompts' not in sample:
            raise KeyError(f"{name} has no 'prompts': use mmiam.apis.PromptSession, or let the data set give them and "
                           'PackWeakInputs pack them (meta_keys)')
        maps, peaks, labels = [], [], []
        for position, prompt in enumerate(sample.prompts):
            try:
                center, sigma, limits = place_prompt(prompt, sample.ori_shape[:2])
            except ValueError as error:
                raise ValueError(f'{name}: prompt {position}: {error}') from None
            center, sigma, limits = to_input(center, sigma, limits, sample)
            blob = draw_gaussian(center, sigma, limits, images)
            maps.append(blob)
            peaks.append(torch.stack([index[0] for index in (blob == blob.max()).nonzero(as_tuple=True)]))
            labels.append(int(prompt.get('label', 0)))
        shape = (0, *images.shape[-2:])
        cams = torch.stack(maps) if maps else images.new_zeros(shape)
        evidence = images.new_full((len(maps), ), self.logit)
        return InstanceData(
            labels=torch.tensor(labels, dtype=torch.long, device=images.device), class_scores=evidence,
            peak_scores=evidence.clone(), cams=cams, maps=cams,
            peaks=torch.stack(peaks) if peaks else torch.zeros((0, 2), dtype=torch.long, device=images.device))


def place_prompt(prompt: Mapping, size: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
    """Return the center (x, y), both widths, and the box outside which the cue is zero, in pixels of the image.

    Raises:
        ValueError: if the prompt is malformed or outside the image; says what is wrong with it.
    """
    if not isinstance(prompt, Mapping) or ('point' in prompt) == ('box' in prompt):
        raise ValueError(f'expected dict(point=(x, y)) or dict(box=(x1, y1, x2, y2)), got {prompt!r}')
    height, width = size
    if 'point' in prompt:
        x, y = read_numbers(prompt['point'], 2)
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f'point {(x, y)} lies outside of the image, {width} x {height} (width, height)')
        reach = PromptCue.point_sigma * (height * width)**0.5
        return [x, y], [reach, reach], [0., 0., width, height]
    x1, y1, x2, y2 = read_numbers(prompt['box'], 4)
    box = [max(x1, 0.), max(y1, 0.), min(x2, float(width)), min(y2, float(height))]
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f'box {(x1, y1, x2, y2)} is empty inside the image, {width} x {height} (width, height); '
                         'boxes are (x1, y1, x2, y2)')
    sides = [box[2] - box[0], box[3] - box[1]]
    return ([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], [PromptCue.box_sigma * side for side in sides], box)


def read_numbers(values: Any, count: int) -> list[float]:
    """Convert ``values`` to ``count`` floats; raise a ValueError if they are not that many finite numbers."""
    values = list(values) if isinstance(values, Sequence) or hasattr(values, 'tolist') else [values]
    values = [value.item() if hasattr(value, 'item') else value for value in values]
    if len(values) != count or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        raise ValueError(f'expected {count} finite numbers, got {values!r}')
    return [float(value) for value in values]


def to_input(center: list[float], sigma: list[float], box: list[float], sample: DetDataSample
             ) -> tuple[list[float], list[float], list[float]]:
    """Convert pixels of the original image to those of the network's input: resize, and mirror if the sample is."""
    scale = [new / old for new, old in zip(sample.img_shape[1::-1], sample.ori_shape[1::-1])]
    center = [value * factor for value, factor in zip(center, scale)]
    sigma = [value * factor for value, factor in zip(sigma, scale)]
    box = [value * factor for value, factor in zip(box, scale * 2)]
    direction = sample.get('flip_direction') if sample.get('flip') else None
    for axis, name in enumerate(('horizontal', 'vertical')):
        if direction in (name, 'diagonal'):
            side = sample.img_shape[1 - axis]
            center[axis] = side - center[axis]
            box[axis], box[axis + 2] = side - box[axis + 2], side - box[axis]
    return center, sigma, box


def simulate_prompts(masks: Tensor, box_ratio: float = 0.3) -> Tensor:
    """Draw prompts that a user might give for masks: a random point inside, or sometimes the bounding box.

    Args:
        masks (Tensor): bool, none empty, has shape (n, H, W).
        box_ratio (float): probability of a box.

    Returns:
        Tensor: maps with maximum 1, float, has shape (n, H, W). Random choices come from torch's global generator.
    """
    maps = []
    for mask in masks:
        places = mask.nonzero()
        if torch.rand(()) < box_ratio:
            (y1, x1), (y2, x2) = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
            prompt: dict[str, tuple] = dict(box=(x1, y1, x2, y2))
        else:
            y, x = places[torch.randint(len(places), ())].tolist()
            prompt = dict(point=(x + 0.5, y + 0.5))
        maps.append(draw_gaussian(*place_prompt(prompt, mask.shape), mask.float()))
    return torch.stack(maps)
