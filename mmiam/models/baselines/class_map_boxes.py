"""Regions marked by a class response map, the way CAM and SPN localize objects.

Legend: n cues of one image, m regions, H0 x W0 original image size, h x w size of the maps.
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from scipy import ndimage
from torch import Tensor

from mmiam.models.postprocessors.base import BasePostProcessor


@TASK_UTILS.register_module()
class ClassMapBoxes:
    """A box around each connected region of a class response map above a threshold.

    The map of each class that has a cue is first resized to the image.
    Pixels are connected through edges, not corners.

    The score of a box is the class evidence times the mean inside the region of the map,
    clamped at zero and divided by its maximum (not stated in the paper; our choice).

    Args:
        rule (str): with 'max', a pixel is marked where the response exceeds both zero and
            ``ratio`` times the maximum (CAM, Zhou et al., CVPR 2016, with ratio 0.2); with
            'mean', where it reaches ``ratio`` times the mean (SPN's public code, with ratio 1).
        ratio (float): see ``rule``.
        regions (str): 'all' gives one box for each region (the default of SPN's code),
            'largest' one for the largest region only (CAM's evaluation of localization).

    Raises:
        ValueError: if ``rule`` or ``regions`` is unknown.
    """

    def __init__(self, rule: str = 'max', ratio: float = 0.2, regions: str = 'all') -> None:
        if rule not in ('max', 'mean'):
            raise ValueError(f'rule must be "max" or "mean", got {rule!r}')
        if regions not in ('all', 'largest'):
            raise ValueError(f'regions must be "all" or "largest", got {regions!r}')
        self.rule = rule
        self.ratio = ratio
        self.regions = regions

    def __call__(self, cues: InstanceData, size: tuple[int, int], data_sample: DetDataSample,
                 evidence: Tensor) -> InstanceData:
        """Find the boxes of one image.

        Args:
            cues (InstanceData): ``labels`` (n,) and ``cams`` (n, h, w), the map of each cue's class.
            size (tuple[int, int]): (H0, W0).
            data_sample (DetDataSample): not used.
            evidence (Tensor): class evidence of each cue, in [0, 1], has shape (n,).

        Returns:
            InstanceData: ``labels`` (m,), ``scores`` (m,), ``bboxes`` (m, 4) in pixels of the image, ``masks``
            (m, H0, W0) of the regions, and ``cue_index`` (m,), the first cue of each region's class.
        """
        index, boxes, masks, scores = [], [], [], []
        for label in cues.labels.unique().tolist():
            first = int((cues.labels == label).nonzero()[0])  # all cues of a class share its map and score
            response = BasePostProcessor.resize_maps(cues.cams[first][None], size)[0]
            relative = response.clamp(min=0)
            relative = relative / relative.max().clamp(min=torch.finfo(relative.dtype).tiny)
            regions, count = ndimage.label(self.foreground(response).cpu().numpy())
            means = ndimage.mean(relative.cpu().numpy(), regions, range(1, count + 1))
            areas = ndimage.sum_labels(regions > 0, regions, range(1, count + 1))
            found = ndimage.find_objects(regions)
            for number in [int(areas.argmax())] if self.regions == 'largest' and count else range(count):
                rows, columns = found[number]
                index.append(first)
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                masks.append(torch.as_tensor(regions == number + 1, device=evidence.device))
                scores.append(float(means[number]) * evidence[first])
        index = torch.tensor(index, dtype=torch.long, device=cues.labels.device)
        return InstanceData(
            labels=cues.labels[index], cue_index=index, bboxes=evidence.new_tensor(boxes).reshape(-1, 4),
            masks=torch.stack(masks) if masks else evidence.new_zeros((0, *size), dtype=torch.bool),
            scores=torch.stack(scores) if scores else evidence.new_zeros(0))

    def foreground(self, response: Tensor) -> Tensor:
        """Mark the pixels of a map (H0, W0), as bool (H0, W0)."""
        if self.rule == 'mean':
            return response >= self.ratio * response.mean()
        return response > self.ratio * response.max().clamp(min=0)


@MODELS.register_module()
class ClassMapThreshold(BasePostProcessor):
    """The CAM baseline: one instance for each region of :class:`ClassMapBoxes`, with the region as its mask.

    Class Activation Maps know classes, not instances; taking connected regions is the usual way to get instances.

    Args:
        ratio (float): threshold as a fraction of the map's maximum. The default is that of Zhou et al., CVPR 2016.
        others: see :class:`BasePostProcessor`.
    """

    def __init__(self, ratio: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.regions = ClassMapBoxes(ratio=ratio)

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        found = self.regions(cues, tuple(image.shape[-2:]), data_sample, self.class_probability(cues))
        return self.finalize(cues[found.cue_index], found.masks, found.scores)
