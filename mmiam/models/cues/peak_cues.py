"""Cues from the peaks of a classification network (Sec. 3.1): where an object of a class is, not how far it reaches.

A cue is a registered module ``(network, images, data_samples, image_labels) -> FoundCues``. ``network`` has
``extract_feat``, ``peak_head`` and ``cell_offset``: :class:`IAMNet`, or a :class:`FrozenClassifier`. A cue that
reads the network's ``peak_head`` has ``needs_peak_head = True``.

Legend: B images, C classes, H x W input size, h x w size of the response map, n cues of one image.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.ops import Trace, class_maps_over_image
from mmiam.ops.class_maps import pixel_positions

from .blobs import POINT_SIGMA, draw_gaussians


class FoundCues(NamedTuple):
    """What a cue gives for a batch.

    Attributes:
        feats (tuple[Tensor]): feature maps of the network.
        scores (Tensor | None): class scores (B, C), raw logits; None without a classifier in the network.
        cues (list[InstanceData]): for each image ``labels``, ``class_scores``, ``peak_scores`` (n,), raw logits,
            ``peaks`` (n, 2) as (y, x) on the response map, ``cams`` (n, H, W), the response map of each cue's class
            registered with the image, and ``maps`` (n, H, W), non-negative: what is filled.
    """
    feats: tuple[Tensor, ...]
    scores: Tensor | None
    cues: list[InstanceData]


@MODELS.register_module()
class PeakResponseCue(BaseModule):
    """Peak Response Maps, the cue of the paper: every peak is back-propagated to the image (Eq. 1).

    ``prms`` (n, H, W) sum to one, and ``maps`` are the same. Peaks whose map is zero everywhere are left out.
    """
    needs_peak_head = True

    @torch.no_grad()
    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Run the network once, find its peaks, and back-propagate all of them.

        Args:
            network: in eval mode.
            images (Tensor): normalized images, has shape (B, 3, H, W).
            data_samples (list[DetDataSample], optional): not looked at.
            image_labels (list[list[int]], optional): classes that may have peaks, an image.
        """

        def run(inputs):
            feats = network.extract_feat(inputs)
            return feats, network.peak_head(feats)

        recorded = Trace(run, images)
        feats, response = recorded.output
        scores, cues = network.peak_head.find_cues(response, image_labels)
        peaks = torch.cat([
            torch.cat([torch.full_like(cue.labels, image)[:, None], cue.labels[:, None], cue.peaks], dim=1)
            for image, cue in enumerate(cues)])
        prms = recorded.backpropagate(response, peaks).split([len(cue) for cue in cues])
        for cue, maps in zip(cues, prms):
            cue.prms = maps
        add_class_maps(cues, response, feats, images, network)
        # by number: a mask would be asked for its places by every field
        cues = [cue[(cue.prms.sum((1, 2)) > 0).nonzero().flatten()] for cue in cues]
        for cue in cues:
            self.draw(cue, images)
        return FoundCues(feats, scores, cues)

    def draw(self, cue: InstanceData, images: Tensor) -> None:
        """Set ``maps`` (n, H, W) of the cues of one image of the batch ``images``."""
        cue.maps = cue.prms


@MODELS.register_module()
class PeakGaussianCue(PeakResponseCue):
    """A Gaussian at each peak: which object is meant; its extent is for the filling module to find.

    Not in the paper; our choice where it is measured to be level or better (docs/experiments.md): nothing is
    back-propagated when the network predicts, and a click is a cue of the same kind. A filling module must be trained
    with it. In training mode Peak Response Maps ride along as ``prms``, for they choose the pseudo ground truth.

    Args:
        sigma (float): width, in units of sqrt(H W).
        prms (bool): compute ``prms`` in inference too, for baselines that are evaluated beside.
    """

    def __init__(self, sigma: float = POINT_SIGMA, prms: bool = False) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f'PeakGaussianCue: sigma must be positive, got {sigma}')
        self.sigma = sigma
        self.prms = prms

    @torch.no_grad()
    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """As :meth:`PeakResponseCue.forward`."""
        if self.training or self.prms:
            return super().forward(network, images, data_samples, image_labels)
        feats = network.extract_feat(images)
        response = network.peak_head(feats)
        scores, cues = network.peak_head.find_cues(response, image_labels)
        add_class_maps(cues, response, feats, images, network)
        for cue in cues:
            self.draw(cue, images)
        return FoundCues(feats, scores, cues)

    def draw(self, cue: InstanceData, images: Tensor) -> None:
        """Set ``maps`` (n, H, W), maximum 1, of the cues of one image of the batch ``images``."""
        size = tuple(images.shape[-2:])
        cue.maps = draw_gaussians(cue.places, self.sigma * (size[0] * size[1])**0.5, size).to(images.dtype)


@MODELS.register_module()
class ClassMapCue(BaseModule):
    """One cue a class, its response map (CAM), without back-propagation.

    Which classes an image has is the head's decision, as for its peaks; the peak of a cue is the highest one of its
    class. ``maps`` are the ``cams``, clamped at zero. Classes whose response is positive nowhere are left out.
    """
    needs_peak_head = True

    @torch.no_grad()
    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Arguments of :meth:`PeakResponseCue.forward`."""
        feats = network.extract_feat(images)
        response = network.peak_head(feats)
        scores, cues = network.peak_head.find_cues(response, image_labels)
        cues = [cue[find_first_of_each(cue.labels)] for cue in cues]
        add_class_maps(cues, response, feats, images, network)
        for cue in cues:
            cue.maps = cue.cams.clamp(min=0)
        return FoundCues(feats, scores, [cue[cue.maps.amax((1, 2)) > 0] for cue in cues])


def add_class_maps(cues: list[InstanceData], response: Tensor, feats: tuple[Tensor, ...], images: Tensor,
                   network) -> None:
    """Set each image's ``cams`` (n, H, W) and ``places`` (n, 2), the peaks as (y, x) in pixels of the input."""
    cells, size = tuple(feats[-1].shape[-2:]), tuple(images.shape[-2:])
    offset = network.cell_offset(size)
    for image, cue in enumerate(cues):
        cue.cams = class_maps_over_image(response[image, cue.labels], cells, size, offset)
        cue.places = pixel_positions(cue.peaks, tuple(response.shape[-2:]), cells, size, offset)


def choose_matching_maps(cues: InstanceData) -> Tensor:
    """What proposals are matched with: ``prms``, or without them ``maps`` brought to sum one, has shape (n, H, W)."""
    if 'prms' in cues:
        return cues.prms
    maps = cues.maps
    return maps / maps.sum((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def find_first_of_each(labels: Tensor) -> Tensor:
    """Positions at which each value occurs first, ascending: (n,) -> (m,), long."""
    earlier = (labels[:, None] == labels).tril(-1).any(1)
    return (~earlier).nonzero().flatten()
