"""The SPN baseline: classification of features coupled with soft proposals (Zhu et al., ICCV 2017).

Legend: B images, C channels, h x w feature map, N = h w locations.
"""
from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmiam.models.heads.peak_stimulation_head import PeakStimulationHead

from .soft_proposal import soft_proposal


@MODELS.register_module()
class SoftProposalHead(PeakStimulationHead):
    """Peak stimulation on features coupled with their soft proposal map.

    The last feature map U is multiplied, channel by channel, by N times its soft
    proposal map M (:func:`~mmiam.models.baselines.soft_proposal.soft_proposal`) before the 1x1 convolution. M is a
    constant in the backward pass, so gradients are weighted by it too, as published.
    The factor N is our choice: the authors' classifier sums over the map, ours averages
    peaks, and N M has mean 1, so that the responses keep their scale.

    The coupling has no parameters: the weights are those of :class:`PeakStimulationHead`,
    under the same names.

    Args:
        sigma_ratio (float): reach of an edge in units of the map's side; 0.15, see there for the authors' value.
        num_iters (int | None): maximum number of steps of the random walk; None takes its limit. 20, as published.
        tolerance (float): change of the map at which the walk ends. 1e-4, as published.
        others: see :class:`PeakStimulationHead`.
    """

    def __init__(self, *args, sigma_ratio: float = 0.15, num_iters: int | None = 20, tolerance: float = 1e-4,
                 **kwargs):
        super().__init__(*args, **kwargs)
        self.walk_cfg = dict(sigma_ratio=sigma_ratio, num_iters=num_iters, tolerance=tolerance)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute the class response maps of the coupled features, has shape (B, num_classes, h', w'), raw logits."""
        return super().forward((*feats[:-1], self.couple(feats[-1])))

    def couple(self, features: Tensor) -> Tensor:
        """Compute N U M, which has the shape of U, (B, C, h, w)."""
        proposal = soft_proposal(features, **self.walk_cfg) * features[0, 0].numel()
        return features * proposal[:, None].to(features.dtype)
