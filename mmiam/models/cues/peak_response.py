"""Cues from the peaks of a classification network (Sec. 3.1).

Legend: B images, C classes, H x W input size, h x w size of the response map, n peaks
of one image.
"""
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
