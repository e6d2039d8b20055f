"""Cues from the peaks of a classification network (Sec. 3.1): where an object of a class is, but not its extent.

A cue is a registered module that is called as ``(network, images, data_samples, image_labels) -> FoundCues``. Here
``network`` is an :class:`IAMNet` or a :class:`FrozenClassifier`; it has ``extract_feat``, ``peak_head`` and
``cell_offset``. A cue that reads the network's ``peak_head`` has ``needs_peak_head = True``.

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
    """The cues of a batch.

    Attributes:
        feats (tuple[Tensor]): feature maps of the network.
        scores (Tensor | None): class scores (B, C), raw logits; None without a classifier in the network.
        cues (list[InstanceData]): for each image ``labels`` (n,); ``class_scores`` and ``peak_scores`` (n,), raw
            logits; ``peaks`` (n, 2) as (y, x) on the response map; ``cams`` (n, H, W), the response map of each cue's
            class, registered with the image; and ``maps`` (n, H, W), the non-negative maps to be filled.
    """
    feats: tuple[Tensor, ...]
    scores: Tensor | None
    cues: list[InstanceData]


@MODELS.register_module()
class PeakResponseCue(BaseModule):
    """Peak Response Maps, the cue of the paper: every peak is back-propagated to the image (Eq. 1).

    ``prms`` (n, H, W) sum to one, and ``maps`` are the same. Peaks whose map is zero everywhere are dropped.
    """
    needs_peak_head = True

    @torch.no_grad()
    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Run the network once, find its peaks, and back-propagate all of them.

        Args:
            network: in eval mode.
            images (Tensor): normalized images, has shape (B, 3, H, W).
            data_samples (list[DetDataSample], optional): not used.
            image_labels (list[list[int]], optional): for each image, the classes that may have peaks.
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
        # index by numbers: with a bool mask, every field would look up its positions again
        cues = [cue[(cue.prms.sum((1, 2)) > 0).nonzero().flatten()] for cue in cues]
        for cue in cues:
            self.draw(cue, images)
        return FoundCues(feats, scores, cues)

    def draw(self, cue: InstanceData, images: Tensor) -> None:
        """Set ``maps`` (n, H, W) of the cues of one image of the batch ``images``."""
        cue.maps = cue.prms


@MODELS.register_module()
class PeakGaussianCue(PeakResponseCue):
    """A Gaussian at each peak: it says which object is meant and leaves its extent to the filling module.

    Not in the paper; our choice where it measured as good or better (docs/experiments.md), because prediction then
    needs no back-propagation, and a click is a cue of the same kind. The filling module must be trained with it. In
    training mode Peak Response Maps are computed as well, as ``prms``, because they select the pseudo ground truth.

    Args:
        sigma (float): width, in units of sqrt(H W).
        prms (bool): compute ``prms`` in inference too, for baselines that are evaluated alongside.
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
        """Same as :meth:`PeakResponseCue.forward`, without back-propagation unless ``prms`` are needed."""
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
        """Set ``maps`` (n, H, W), with maximum 1, of the cues of one image of the batch ``images``."""
        size = tuple(images.shape[-2:])
        cue.maps = draw_gaussians(cue.places, self.sigma * (size[0] * size[1])**0.5, size).to(images.dtype)


@MODELS.register_module()
class ClassMapCue(BaseModule):
    """One cue per class, its response map (CAM), without back-propagation.

    The head decides which classes an image has, as it does for peaks; the peak of a cue is the highest of its class.
    ``maps`` are the ``cams``, clamped at zero. Classes without any positive response are dropped.
    """
    needs_peak_head = True

    @torch.no_grad()
    def forward(self, network, images: Tensor, data_samples: list[DetDataSample] | None = None,
                image_labels: list[list[int]] | None = None) -> FoundCues:
        """Find one cue per class; the arguments are those of :meth:`PeakResponseCue.forward`."""
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
    """Set each image's ``cams`` (n, H, W) and ``places`` (n, 2), its peaks as (y, x) in pixels of the input."""
    cells, size = tuple(feats[-1].shape[-2:]), tuple(images.shape[-2:])
    offset = network.cell_offset(size)
    for image, cue in enumerate(cues):
        cue.cams = class_maps_over_image(response[image, cue.labels], cells, size, offset)
        cue.places = pixel_positions(cue.peaks, tuple(response.shape[-2:]), cells, size, offset)


def choose_matching_maps(cues: InstanceData) -> Tensor:
    """Return the maps to match proposals with, (n, H, W): ``prms``, or else ``maps`` scaled to sum to one."""
    if 'prms' in cues:
        return cues.prms
    maps = cues.maps
    return maps / maps.sum((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def find_first_of_each(labels: Tensor) -> Tensor:
    """Return the position of the first occurrence of each value, ascending: (n,) -> (m,), long."""
    earlier = (labels[:, None] == labels).tril(-1).any(1)
    return (~earlier).nonzero().flatten()
