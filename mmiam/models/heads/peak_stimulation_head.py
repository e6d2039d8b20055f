"""Classification head with peak stimulation, and the cues that it finds (Sec. 3.1).

Legend: B images, C classes, H x W image size, h x w size of the class response
map, P peaks.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmiam.ops import peak_stimulation


def one_hot(labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Turn the image-level labels of B images into the targets of a loss: float (B, C), 1 for present."""
    targets = torch.zeros(len(labels), num_classes)
    for row, present in zip(targets, labels):
        row[list(present)] = 1
    return targets


@MODELS.register_module()
class PeakStimulationHead(BaseModule):
    """Fully convolutional classifier that scores each class by the mean of its peaks.

    A 1x1 convolution turns the last feature map into class response maps
    (CAMs) M; each class is scored by the mean of the local maxima of its map
    (Sec. 3.1 of the paper; the peaks are those of Zhou et al., CVPR 2018).

    Args:
        num_classes (int): C.
        in_channels (int): channels of the backbone's last feature map.
        sub_pixel (int): factor by which the map is enlarged (bilinear, align_corners)
            before peaks are sought. Defaults to 8, the reference's training value.
        win_size (int): side of the window of which a peak is the maximum; odd.
        peak_filter (str | float | None): maxima below this statistic of their map do
            not count as peaks: 'median', 'mean', 'max', a constant, or None.
        grad_mode (str): 'official' passes the whole gradient of the class score to each
            peak, as the reference code does; 'mean' divides it by the number of peaks,
            which is the gradient of the forward pass.
        class_thr (float): a class is predicted if its score (raw logit) reaches this.
        peak_thr (float): peaks of at least this value (raw logit) become cues, ...
        relative_peak_thr (float): ... if they also reach this fraction of the highest
            peak of their class in the image. Defaults to 0 (off, as in the reference).
        keep_strongest (bool): keep the strongest peak of a predicted class even if it
            is below ``peak_thr``, so that every predicted class has an instance.
            Defaults to False (as in the reference).
        max_peaks (int): keep at most this many peaks per image, the highest ones. Our
            choice, because memory grows with each peak.
        loss_weight (float): weight of the classification loss.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 sub_pixel: int = 8,
                 win_size: int = 3,
                 peak_filter: str | float | None = 'median',
                 grad_mode: str = 'official',
                 class_thr: float = 0.,
                 peak_thr: float = 30.,
                 relative_peak_thr: float = 0.,
                 keep_strongest: bool = False,
                 max_peaks: int = 50,
                 loss_weight: float = 1.,
                 init_cfg=None):
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.01))
        self.num_classes = num_classes
        self.sub_pixel = sub_pixel
        self.peak_cfg: dict = dict(win_size=win_size, peak_filter=peak_filter, grad_mode=grad_mode)
        self.class_thr = class_thr
        self.peak_thr = peak_thr
        self.relative_peak_thr = relative_peak_thr
        self.keep_strongest = keep_strongest
        self.max_peaks = max_peaks
        self.loss_weight = loss_weight
        self.classifier = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute class response maps, has shape (B, C, h, w), raw logits, from the last feature map."""
        response = self.classifier(feats[-1])
        if self.sub_pixel > 1:
            size = [side * self.sub_pixel for side in response.shape[-2:]]
            response = F.interpolate(response, size=size, mode='bilinear', align_corners=True)
        return response

    def loss(self, feats: tuple[Tensor, ...], targets: Tensor) -> dict[str, Tensor]:
        """Compute the multi-label soft margin loss of the peak scores (Sec. 3.3).

        Args:
            feats (tuple[Tensor]): feature maps of the backbone.
            targets (Tensor): image-level labels, has shape (B, C), 1 for present.
        """
        scores, peak_mask = peak_stimulation(self(feats).float(), **self.peak_cfg)
        loss = F.multilabel_soft_margin_loss(scores, targets)
        peaks_per_class = (peak_mask.sum((2, 3)) * targets).sum() / targets.sum().clamp(min=1)
        return dict(loss_cls=self.loss_weight * loss, peaks_per_class=peaks_per_class.detach())

    @torch.no_grad()
    def find_cues(self, response: Tensor, image_labels: list[list[int]] | None = None
                  ) -> tuple[Tensor, list[InstanceData]]:
        """Choose the peaks that stand for instances.

        Args:
            response (Tensor): class response maps, has shape (B, C, h, w).
            image_labels (list[list[int]], optional): restrict the classes of each image
                to its labels; the class threshold then does not apply. In training the
                labels are known (Sec. 3.2); at test time leave it out.

        Returns:
            tuple: class scores (B, C) as raw logits, and for each image an InstanceData
            with ``labels`` (n,), ``class_scores`` and ``peak_scores`` (n,), raw logits,
            and ``peaks`` (n, 2) as (y, x) on the response map, in descending order of
            peak score.
        """
        scores, peak_mask = peak_stimulation(response.float(), **self.peak_cfg)
        if image_labels is None:
            wanted = scores >= self.class_thr
        else:
            wanted = one_hot(image_labels, scores.shape[1]).to(scores.device, non_blocking=True) > 0
        height = response.masked_fill(~peak_mask, -torch.inf).float()
        strongest = height.amax((2, 3), keepdim=True)
        # relative only to positive maxima: a fraction of a negative maximum lies above it
        threshold = (self.relative_peak_thr * strongest.clamp(min=0)).clamp(min=self.peak_thr)
        if self.keep_strongest:
            threshold = torch.minimum(threshold, strongest)
        chosen = peak_mask & wanted[:, :, None, None] & (height >= threshold)

        cues = []
        for image, (marks, image_height) in enumerate(zip(chosen, height)):
            index = marks.nonzero()
            values = image_height[tuple(index.T)]
            order = values.argsort(descending=True, stable=True)[:self.max_peaks]
            index, values = index[order], values[order]
            cues.append(InstanceData(
                labels=index[:, 0], peaks=index[:, 1:], peak_scores=values,
                class_scores=scores[image, index[:, 0]]))
        return scores, cues
