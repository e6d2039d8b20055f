"""Cues from a classification network: the responses of its peaks (Sec. 3.1), or of its classes.

Legend: B images, C classes, H x W input size, h x w size of the response map, n cues of one image.

Every cue is an InstanceData with ``labels``, ``class_scores``, ``peak_scores`` (n,), ``peaks`` (n, 2) as (y, x) on
the response map, ``prms`` (n, H, W) that sum to one, and ``cams`` (n, H, W), the response map of each cue's class,
registered with the image.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.ops import class_maps_over_image, trace


@torch.no_grad()
def peak_response_cues(extract: Callable[[Tensor], tuple], peak_head, images: Tensor,
                       image_labels: list[list[int]] | None = None) -> tuple[tuple, Tensor, list[InstanceData]]:
    """Run a classifier once, find its peaks and back-propagate all of them (Eq. 1).

    Args:
        extract (Callable): images -> feature maps; in eval mode.
        peak_head (PeakStimulationHead): feature maps -> response maps, peaks.
        images (Tensor): normalised images, has shape (B, 3, H, W).
        image_labels (list[list[int]], optional): classes that may have peaks, an image.

    Returns:
        tuple: the feature maps; class scores (B, C), raw logits; and for each image an
        InstanceData with ``labels``, ``class_scores``, ``peak_scores`` (n,), ``peaks``
        (n, 2) as (y, x) on the response map, ``prms`` (n, H, W) that sum to one, and
        ``cams`` (n, H, W), the response map of each peak's class, registered
        with the image. Peaks whose map is
        zero everywhere are left out.
    """

    def network(inputs):
        feats = extract(inputs)
        return feats, peak_head(feats)

    recorded = trace(network, images)
    feats, response = recorded.output
    scores, cues = peak_head.find_cues(response, image_labels)
    peaks = torch.cat([
        torch.cat([torch.full_like(cue.labels, image)[:, None], cue.labels[:, None], cue.peaks], dim=1)
        for image, cue in enumerate(cues)])
    prms = recorded.backpropagate(response, peaks).split([len(cue) for cue in cues])
    for image, cue in enumerate(cues):
        cue.prms = prms[image]
        cue.cams = class_maps_over_image(response[image, cue.labels], feats[-1].shape[-2:], images.shape[-2:])
    return feats, scores, [cue[cue.prms.sum((1, 2)) > 0] for cue in cues]


@torch.no_grad()
def class_map_cues(extract: Callable[[Tensor], tuple], peak_head, images: Tensor,
                   image_labels: list[list[int]] | None = None) -> tuple[tuple, Tensor, list[InstanceData]]:
    """One cue a class, its response map (CAM), without back-propagation.

    Which classes an image has is the head's decision, as for its peaks; the peak of a cue is the highest one of its
    class. Arguments and result are those of :func:`peak_response_cues`; ``prms`` are the ``cams``, clamped at zero and
    divided by their sum. Classes whose response is positive nowhere are left out.
    """
    feats = extract(images)
    response = peak_head(feats)
    scores, cues = peak_head.find_cues(response, image_labels)
    found = []
    for image, cue in enumerate(cues):
        cue = cue[first_of_each(cue.labels)]
        cue.cams = class_maps_over_image(response[image, cue.labels], feats[-1].shape[-2:], images.shape[-2:])
        positive = cue.cams.clamp(min=0)
        total = positive.sum((1, 2), keepdim=True)
        cue.prms = positive / total.clamp(min=torch.finfo(total.dtype).tiny)
        found.append(cue[total.flatten() > 0])
    return feats, scores, found


def first_of_each(labels: Tensor) -> Tensor:
    """Positions at which each value occurs first, ascending: (n,) -> (m,), long."""
    earlier = (labels[:, None] == labels).tril(-1).any(1)
    return (~earlier).nonzero().flatten()
