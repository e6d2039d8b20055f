"""Boxes around what a class response map marks: the localisation of CAM and of SPN.

Legend: n cues of one image, m boxes, H0 x W0 original image size, h x w size of the maps.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from scipy import ndimage
from torch import Tensor


@TASK_UTILS.register_module()
class ClassMapBoxes:
    """A box around each connected region of a class response map above a threshold.

    The map of each class that has a cue is brought to the size of the image first.
    Regions are connected by edges, not by corners.

    Score of a box: class evidence times the mean of the map, clamped at zero and divided
    by its maximum, inside the region (not stated; our choice, that of
    :class:`ClassMapThreshold`).

    Args:
        rule (str): 'max': a pixel is marked where the response exceeds ``ratio`` times
            the maximum, and zero (CAM, Zhou et al., CVPR 2016, with ratio 0.2); 'mean':
            where it reaches ``ratio`` times the mean (SPN's public code, with ratio 1).
        ratio (float): see ``rule``.
        regions (str): 'all' regions give a box each (as SPN's code by default), or the
            'largest' only (as CAM's evaluation of localisation).

    Raises:
        ValueError: for an unknown rule or regions.
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
        """Boxes of one image.

        Args:
            cues (InstanceData): ``labels`` (n,) and ``cams`` (n, h, w), the map of each cue's class.
            size (tuple[int, int]): (H0, W0).
            data_sample (DetDataSample): not used.
            evidence (Tensor): class evidence of each cue in [0, 1], has shape (n,).

        Returns:
            InstanceData: ``labels`` (m,), ``scores`` (m,), ``bboxes`` (m, 4) in pixels of the image.
        """
        labels, boxes, scores = [], [], []
        for label in cues.labels.unique().tolist():
            first = int((cues.labels == label).nonzero()[0])  # all cues of a class share map and class score
            response = F.interpolate(cues.cams[first][None, None].float(), size=tuple(size), mode='bilinear',
                                     align_corners=False)[0, 0]
            relative = response.clamp(min=0)
            relative = (relative / relative.max().clamp(min=torch.finfo(relative.dtype).tiny)).cpu().numpy()
            regions, count = ndimage.label(self.foreground(response).cpu().numpy())
            found = ndimage.find_objects(regions)
            means = ndimage.mean(relative, regions, range(1, count + 1))
            areas = ndimage.sum_labels(regions > 0, regions, range(1, count + 1))
            for index in [int(areas.argmax())] if self.regions == 'largest' and count else range(count):
                rows, columns = found[index]
                labels.append(label)
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                scores.append(float(means[index]) * evidence[first])
        return InstanceData(
            labels=torch.tensor(labels, dtype=torch.long, device=cues.labels.device),
            bboxes=evidence.new_tensor(boxes).reshape(-1, 4),
            scores=torch.stack(scores) if scores else evidence.new_zeros(0))

    def foreground(self, response: Tensor) -> Tensor:
        """Marked pixels of a map (H0, W0), bool."""
        if self.rule == 'mean':
            return response >= self.ratio * response.mean()
        return response > self.ratio * response.max().clamp(min=0)
