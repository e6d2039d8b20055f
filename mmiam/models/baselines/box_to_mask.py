"""The box baselines of Table 1: a mask from a box (Khoreva et al., "Simple Does It", CVPR 2017).

Legend: n boxes of one image as (x1, y1, x2, y2) in pixels, x2 and y2 exclusive; J proposals, H0 x W0 original image
size. A pixel belongs to a shape if its center lies inside.
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor
from mmiam.proposals import SegmentProposals


@MODELS.register_module()
class BoxToMask(BasePostProcessor):
    """Masks made from boxes by one of three strategies, following Khoreva et al.

    Args:
        boxes (dict): source of the boxes: :class:`ClassMapBoxes`, :class:`GroundTruthBoxes` or
            :class:`DetectionFileBoxes`. Any callable in TASK_UTILS ``(cues, size, data_sample, evidence) ->
            InstanceData`` with ``labels``, ``scores`` and ``bboxes`` will do.
        mask (str): 'rect', the box itself; 'ellipse', the inscribed ellipse; 'proposal', the segment proposal
            whose box has the highest IoU with the given one (the first in a tie). A box that overlaps no
            proposal's box gives no instance.
        others: see :class:`BasePostProcessor`. ``nms_iou`` compares the masks; set it to None if there are no
            duplicate boxes.

    Raises:
        ValueError: if ``mask`` is unknown.
    """

    def __init__(self, boxes: dict, mask: str = 'rect', **kwargs):
        super().__init__(**kwargs)
        if mask not in ('rect', 'ellipse', 'proposal'):
            raise ValueError(f'mask must be "rect", "ellipse" or "proposal", got {mask!r}')
        self.boxes = TASK_UTILS.build(boxes)
        self.mask = mask

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        size = tuple(image.shape[-2:])
        found = self.boxes(cues, size, data_sample, self.class_probability(cues))
        if self.mask == 'rect':
            masks = fill_boxes(found.bboxes, size)
        elif self.mask == 'ellipse':
            masks = fill_ellipses(found.bboxes, size)
        else:
            masks = choose_proposals(found.bboxes, self.proposals_of(data_sample, size))
        return self.finalize(InstanceData(labels=found.labels), masks, found.scores)


def choose_proposals(boxes: Tensor, proposals: SegmentProposals) -> Tensor:
    """Choose the proposal whose box best overlaps each box (n, 4): bool (n, H0, W0), empty where none overlaps."""
    masks = torch.zeros((len(boxes), *proposals.size), dtype=torch.bool, device=boxes.device)
    if len(boxes) and len(proposals):
        iou = bbox_overlaps(boxes, torch.as_tensor(proposals.boxes()).to(boxes)).cpu().numpy()
        overlapping = torch.as_tensor(iou.max(1) > 0, device=boxes.device)
        chosen = iou.argmax(1)[iou.max(1) > 0]
        masks[overlapping] = torch.as_tensor(proposals.masks(chosen), device=boxes.device)
    return masks


def fill_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill boxes: (n, 4) -> bool (n, H0, W0) for ``size`` = (H0, W0)."""
    xs, ys = _centers(boxes, size)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    return ((ys >= y1) & (ys < y2))[:, :, None] & ((xs >= x1) & (xs < x2))[:, None]


def fill_ellipses(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill the ellipses inscribed in boxes with positive sides: (n, 4) -> bool (n, H0, W0) for ``size`` = (H0, W0)."""
    xs, ys = _centers(boxes, size)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    across = ((2 * xs - x1 - x2) / (x2 - x1)).square()
    down = ((2 * ys - y1 - y2) / (y2 - y1)).square()
    return down[:, :, None] + across[:, None] <= 1


def _centers(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the pixel centers: x as (1, W0), y as (1, H0)."""
    height, width = size
    return (torch.arange(width, dtype=boxes.dtype, device=boxes.device)[None] + 0.5,
            torch.arange(height, dtype=boxes.dtype, device=boxes.device)[None] + 0.5)
