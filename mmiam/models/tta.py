"""Test-time augmentation for instance masks, which mmdet's ``DetTTAModel`` does not support.

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
_EDGE = 3  # a mask within so many pixels of a window's side counts as cut by it


@MODELS.register_module()
class MaskTTAModel(BaseTTAModel):
    """Model that merges the instances of several views of an image: mirrored, resized or cut out (:class:`CropTile`).

    It works with any segmenter of mmdet that predicts at original size. Windows show small objects larger. A mask
    that is cut by a side of a window inside the image is dropped, because another window or the whole image shows it
    completely; an object across a seam is thus one mask. Of overlapping masks of a class, the best is kept. Not in the
    paper; our choice (see docs/experiments.md for what it gains).

    Args:
        module (dict | nn.Module): the segmenter.
        data_preprocessor (dict, optional): see ``BaseTTAModel``.
        iou_thr (float): IoU above which two masks of a class are taken for the same object.
        tile_weight (float): factor for scores in a window, which shows less of the context that tells a class.
        max_per_img (int): number of instances kept per image, the best ones.
    """

    def __init__(self, module, data_preprocessor=None, iou_thr: float = 0.5, tile_weight: float = 0.8,
                 max_per_img: int = 100) -> None:
        super().__init__(module, data_preprocessor)
        self.iou_thr = iou_thr
        self.tile_weight = tile_weight
        self.max_per_img = max_per_img

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list[DetDataSample]:
        """Merge the predictions for the views of each image into the sample of its first view."""
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
        """Map the instances of a view to the frame of the whole image, with ``masks`` (n, H0, W0) bool."""
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
