"""Test-time augmentation for instance masks, which mmdet's ``DetTTAModel`` refuses.

Legend: n instances of one view, H0 x W0 original image size.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData

from mmiam.ops.mask_nms import mask_nms

_AXES = dict(horizontal=(2, ), vertical=(1, ), diagonal=(1, 2))
_EDGE = 3  # pixels from a window's side within which a mask counts as cut by it


@MODELS.register_module()
class MaskTTAModel(BaseTTAModel):
    """Instances of several views of an image: mirrored, resized, or windows of it (:class:`CropTile`).

    For any segmenter of mmdet that predicts at original size. Windows show small objects larger. A mask that a side
    within the image cuts is left out, because another window or the whole image has it complete: so an object over a
    seam is one mask. Of masks of a class that overlap the best one stays. Not in the paper; our choice
    (docs/experiments.md has what it gives).

    Args:
        module (dict | nn.Module): the segmenter.
        data_preprocessor (dict, optional): as of ``BaseTTAModel``.
        iou_thr (float): IoU from which on two masks of a class are one object's.
        tile_weight (float): factor of scores in a window, which shows less of what tells a class.
        max_per_img (int): instances kept of an image, the best ones.
    """

    def __init__(self, module, data_preprocessor=None, iou_thr: float = 0.5, tile_weight: float = 0.8,
                 max_per_img: int = 100) -> None:
        super().__init__(module, data_preprocessor)
        self.iou_thr = iou_thr
        self.tile_weight = tile_weight
        self.max_per_img = max_per_img

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list[DetDataSample]:
        """The views' predictions of each image as one: its first view's sample, with all instances that are kept."""
        merged = []
        for views in data_samples_list:
            instances = InstanceData.cat([self.whole(view) for view in views])
            kept = mask_nms(instances.masks, instances.scores, self.iou_thr, instances.labels)[:self.max_per_img]
            sample = views[0].clone()
            if 'tile' in sample:
                sample.set_metainfo(dict(ori_shape=sample.whole_shape))
            sample.pred_instances = instances[kept]
            merged.append(sample)
        return merged

    def whole(self, view: DetDataSample) -> InstanceData:
        """``masks`` (n, H0, W0), ``bboxes``, ``labels`` and ``scores`` of a view in the frame of the whole image."""
        found = view.pred_instances
        masks, scores = torch.as_tensor(found.masks, device=found.scores.device).bool(), found.scores
        bboxes = found.bboxes
        if view.get('flip'):
            masks = masks.flip(_AXES[view.flip_direction])
            bboxes = bbox_flip(bboxes, view.ori_shape, view.flip_direction)
        if 'tile' in view and tuple(view.whole_shape) != tuple(view.ori_shape):
            (x1, y1, x2, y2), (height, width) = view.tile, view.whole_shape
            cut = torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
            for inside, edge in ((x1 > 0, masks[:, :, :_EDGE]), (x2 < width, masks[:, :, -_EDGE:]),
                                 (y1 > 0, masks[:, :_EDGE]), (y2 < height, masks[:, -_EDGE:])):
                if inside:
                    cut |= edge.flatten(1).any(1)
            kept = (~cut).nonzero().flatten()
            pasted = masks.new_zeros((len(kept), height, width))
            pasted[:, y1:y2, x1:x2] = masks[kept]
            masks, scores = pasted, scores * self.tile_weight
            bboxes = bboxes + bboxes.new_tensor([x1, y1, x1, y1])
            return InstanceData(masks=masks, bboxes=bboxes[kept], labels=found.labels[kept], scores=scores[kept])
        return InstanceData(masks=masks, bboxes=bboxes, labels=found.labels, scores=scores)
