"""What all post-processors share: scores, removal of duplicates, and the form of their results.

Legend: n instances of one image, H0 x W0 original image size, h x w network input size.
"""
from __future__ import annotations

from abc import ABCMeta, abstractmethod

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.ops import mask_nms
from mmiam.proposals import SegmentProposals


class BasePostProcessor(BaseModule, metaclass=ABCMeta):
    """Base class of modules that turn the cues (and maps) of one image into masks, boxes, labels and scores.

    Args:
        nms_iou (float | None): a mask whose IoU with a better one of the same class
            exceeds this is dropped; None keeps all. Not stated in the paper; 0.3 is the
            value of the PRM reference, which also compares masks of different classes.
        class_evidence (str): the raw logit that represents the class in the score:
            'class' (aggregated over peaks) or 'peak' (the instance's own peak).
        temperature (float): divides that logit before the sigmoid. Defaults to 1. With
            the undivided peak gradient, logits grow to tens, where a sigmoid is flat.
    """

    needs_iam = False

    def __init__(self,
                 nms_iou: float | None = 0.3,
                 class_evidence: str = 'class',
                 temperature: float = 1.,
                 init_cfg=None):
        super().__init__(init_cfg)
        if class_evidence not in ('class', 'peak'):
            raise ValueError(f'class_evidence must be "class" or "peak", got {class_evidence!r}')
        if temperature <= 0:
            raise ValueError(f'temperature divides a logit and must be above 0, got {temperature}')
        self.nms_iou = nms_iou
        self.class_evidence = class_evidence
        self.temperature = temperature

    @abstractmethod
    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        """Compute the masks of one image.

        Args:
            cues (InstanceData): ``labels`` (n,), ``class_scores`` (n,), ``peak_scores``
                (n,), ``maps`` and, for some kinds of cue, ``prms`` (n, h, w), ``cams``
                (n, h', w') and, if a filler ran, ``iams`` (n, h, w) as logits.
            image (Tensor): the image in RGB, [0, 255], has shape (3, H0, W0).
            data_sample (DetDataSample): metainfo, and ``segment_proposals`` if loaded.

        Returns:
            InstanceData: the surviving cues in descending order of score, with ``masks``
            (m, H0, W0) bool, ``bboxes`` (m, 4) as (x1, y1, x2, y2) in pixels of the
            original image, and ``scores`` (m,) in [0, 1].
        """

    def no_instances(self, cues: InstanceData, image: Tensor) -> InstanceData:
        """Return the result for an image (3, H0, W0) in which nothing was found."""
        return self.finalize(cues[:0], image.new_zeros((0, *image.shape[-2:]), dtype=torch.bool), image.new_zeros(0))

    def class_probability(self, cues: InstanceData) -> Tensor:
        """Compute the evidence for the class of each cue, in [0, 1], has shape (n, )."""
        logits = cues.class_scores if self.class_evidence == 'class' else cues.peak_scores
        return (logits / self.temperature).sigmoid()

    @staticmethod
    def proposals_of(sample: DetDataSample, size: tuple[int, int]) -> SegmentProposals:
        """Return the segment proposals of a sample.

        Raises:
            ValueError: if there are none, or their size is not that of the image, (H0, W0).
        """
        proposals, name = sample.get('segment_proposals'), sample.get('img_path', 'this image')
        if proposals is None:
            raise ValueError(f'{name}: this post-processor needs segment proposals, and the test pipeline loads none. '
                             'Add dict(type="LoadSegmentProposals", proposal_root=...) to it')
        if tuple(proposals.size) != size:
            raise ValueError(f'{name}: proposals are {tuple(proposals.size)}, the image is {size} (height, width). At '
                             'test time keep them at original size: no AlignSegmentProposals')
        return proposals

    def finalize(self, cues: InstanceData, masks: Tensor, scores: Tensor) -> InstanceData:
        """Drop empty masks and duplicates, sort the rest by score, and add boxes.

        Args:
            cues (InstanceData): n cues.
            masks (Tensor): bool, has shape (n, H0, W0).
            scores (Tensor): has shape (n, ).
        """
        keep = masks.flatten(1).any(1).nonzero().flatten()
        if self.nms_iou is not None:
            keep = keep[mask_nms(masks[keep], scores[keep], self.nms_iou, cues.labels[keep])]
        else:
            keep = keep[scores[keep].argsort(descending=True, stable=True)]
        results = cues[keep]
        results.masks = masks[keep]
        results.scores = scores[keep]
        results.bboxes = self.tight_boxes(results.masks).to(scores)
        return results

    @staticmethod
    def tight_boxes(masks: Tensor) -> Tensor:
        """Compute the boxes (x1, y1, x2, y2) around non-empty masks: bool (n, H0, W0) -> long (n, 4)."""
        # mmdet's mask2bbox looks up the pixels of one mask after another, and on a GPU waits for each result
        sides = [masks.any(axis).byte() for axis in (1, 2)]  # columns, rows
        first = [side.argmax(1) for side in sides]
        last = [side.shape[1] - side.flip(1).argmax(1) for side in sides]
        return torch.stack([*first, *last], dim=1)

    @staticmethod
    def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize maps bilinearly: (n, h, w) -> (n, *size)."""
        if len(maps) == 0:
            return maps.new_zeros((0, *size))
        return F.interpolate(maps[:, None].float(), size=tuple(size), mode='bilinear', align_corners=False)[:, 0]

    @staticmethod
    def mean_inside(maps: Tensor, masks: Tensor) -> Tensor:
        """Compute the mean of each map inside its mask, 0 if the mask is empty, has shape (n, )."""
        inside = masks.to(maps.dtype)
        return (maps * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=torch.finfo(maps.dtype).tiny)
