"""The PRM baseline: the best-matching segment proposal for each peak (Zhou et al., CVPR 2018).

Legend: n peaks of one image, J proposals, H0 x W0 original image size, h x w network
input size.
"""
from __future__ import annotations

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.cues import choose_matching_maps
from mmiam.models.postprocessors.base import BasePostProcessor
from mmiam.proposals.matching import match_proposals


@MODELS.register_module()
class ProposalRetrieval(BasePostProcessor):
    """Retrieval of the best-matching proposal S for each peak.

    It maximizes ``alpha <M, S> + <M, contour(S)> - beta <B, S>``, where M is the Peak Response Map and B the
    background of its class: the pixels whose class response lies below ``tau`` times its mean.

    Args:
        alpha (float): weight of the extent term.
        beta (float): weight of the background term.
        tau (float): background threshold, relative to the mean of the class response map
            scaled to [0, 1].
        contour_size (int): side of the morphological gradient.
        area_range (tuple[float]): proposals outside these fractions of the image area
            are not candidates.
        max_proposals (int | None): only this many proposals, from the front of the list, are candidates; None
            takes all. The reference takes the first 100 of its ranked list.
        score (str): 'match' is the retrieval value divided by its largest possible value, as in public
            code that evaluates PRM; 'class' is the class probability times the mass of M inside the mask.
        others: see :class:`BasePostProcessor`.
    """

    def __init__(self,
                 alpha: float = 0.8,
                 beta: float = 1e-5,
                 tau: float = 0.95,
                 contour_size: int = 5,
                 area_range: tuple[float, float] = (2e-5, 0.85),
                 max_proposals: int | None = None,
                 score: str = 'class',
                 **kwargs):
        super().__init__(**kwargs)
        if score not in ('match', 'class'):
            raise ValueError(f'score must be "match" or "class", got {score!r}')
        self.alpha, self.beta, self.tau = alpha, beta, tau
        self.contour_size = contour_size
        self.area_range = area_range
        self.max_proposals = max_proposals
        self.score = score

    def forward(self, cues: InstanceData, image: Tensor, data_sample: DetDataSample) -> InstanceData:
        proposals = self.proposals_of(data_sample, tuple(image.shape[-2:])).first(self.max_proposals)
        if len(cues) == 0 or len(proposals) == 0:
            return self.no_instances(cues, image)
        values, mass = self.retrieval_values(cues, proposals)
        best_value, best = values.max(1)
        found = best_value.isfinite().nonzero().flatten()
        masks = torch.as_tensor(proposals.masks(best[found].cpu()), device=image.device)
        if self.score == 'match':
            scores = best_value[found].clamp(min=0) / (1 + self.alpha)  # both masses are at most 1
        else:
            scores = self.class_probability(cues)[found] * mass[found, best[found]]
        return self.finalize(cues[found], masks, scores)

    def retrieval_values(self, cues: InstanceData, proposals) -> tuple[Tensor, Tensor]:
        """Compute the values of all proposals for all peaks, -inf for proposals outside ``area_range``.

        Returns:
            tuple[Tensor, Tensor]: the values, and the mass of each peak's map inside each
            proposal, both of shape (n, J).
        """
        maps = choose_matching_maps(cues)
        size = tuple(maps.shape[-2:])
        resized = proposals.resize(size)
        values, mass = match_proposals(maps, resized, alpha=self.alpha, contour_size=self.contour_size)
        response = self.resize_maps(cues.cams, size)
        low, high = response.amin((1, 2), keepdim=True), response.amax((1, 2), keepdim=True)
        response = (response - low) / (high - low).clamp(min=1e-12)
        background = (response < self.tau * response.mean((1, 2), keepdim=True)).to(values.dtype)
        values = values - self.beta * match_proposals(background, resized, alpha=1., contour_size=1)[1]
        fraction = torch.as_tensor(resized.areas(), device=values.device) / (size[0] * size[1])
        allowed = (fraction >= self.area_range[0]) & (fraction < self.area_range[1])
        return values.masked_fill(~allowed, -torch.inf), mass
