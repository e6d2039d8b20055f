"""Pseudo ground truth from noisy segment proposals (Sec. 3.2, "Collecting pseudo supervision").

Legend: n Peak Response Maps of one image, J proposals, k candidates per map, H x W size of
the maps.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.models.cues import choose_matching_maps
from mmiam.proposals import SegmentProposals, match_proposals, prior_scores, select_candidates


class PseudoGT(NamedTuple):
    """A pseudo mask for each map.

    Attributes:
        masks (Tensor): bool, has shape (n, H, W).
        agreement (Tensor | None): soft Dice coefficient of each mask with the Instance
            Activation Map that selected it, in [0, 1], has shape (n, ); None for masks drawn at random.
    """
    masks: Tensor
    agreement: Tensor | None = None


@TASK_UTILS.register_module()
class ProposalPseudoGTSampler:
    """Sampler that scores proposals against each map, keeps the top k, and draws one at random each time.

    Args:
        num_candidates (int): k; the paper compares 1, 5 and 9 (Table 1).
        alpha (float): weight of the extent term of the matching score.
        contour_size (int): side of the morphological gradient that gives the contour.
        overlap_thr (float): candidates that overlap less than this with the maps are
            discarded; 0.2 in the paper.
        overlap_rule (str): 'max' takes the largest mass over all maps of the image
            (the formula of the paper), 'own' the mass of the candidate's own map.
        area_range (tuple[float]): proposals outside these fractions of the image are
            not candidates (values of the PRM reference).
        min_score (float | None): candidates with a lower score are discarded, so that a map
            without a good one teaches nothing; None, as in the paper, keeps them.
        dedupe_iou (float | None): candidates of one map that overlap by more than this
            count once.
        rank_weight, class_map_weight (float): see
            :func:`mmiam.proposals.prior_scores`; with 0, as in the paper, only the match counts.
        trusted_fraction (float): share of a batch's instances, those with the best agreement,
            that are trained on while ``self_selecting``. Not in the paper; our option, because
            the filling module's maps distinguish right from wrong pseudo masks better than the
            match does (docs/experiments.md). What a network fits only with a large loss is
            likely to be mislabeled: Han et al., Co-teaching, NeurIPS 2018.

    While ``self_selecting`` is set, which :class:`TrainingStageHook` does from its epoch ``select_begin`` on, each map
    takes the candidate that agrees best with the current Instance Activation Map instead of a random one.
    """

    def __init__(self,
                 num_candidates: int = 5,
                 alpha: float = 0.8,
                 contour_size: int = 5,
                 overlap_thr: float = 0.2,
                 overlap_rule: str = 'max',
                 area_range: tuple[float, float] = (2e-5, 0.85),
                 min_score: float | None = None,
                 dedupe_iou: float | None = 0.95,
                 rank_weight: float = 0.,
                 class_map_weight: float = 0.,
                 trusted_fraction: float = 1.):
        if not 0 < trusted_fraction <= 1:
            raise ValueError(f'trusted_fraction is above 0 and at most 1, got {trusted_fraction}')
        self.trusted_fraction = trusted_fraction
        self.self_selecting = False
        self.alpha = alpha
        self.contour_size = contour_size
        self.dedupe_iou = dedupe_iou
        self.prior = dict(rank_weight=rank_weight, class_map_weight=class_map_weight)
        self.selection: dict = dict(
            k=num_candidates, overlap_thr=overlap_thr, overlap_rule=overlap_rule, area_range=area_range,
            min_score=min_score)

    def candidate_fingerprint(self) -> dict:
        """Return every setting that :meth:`candidates` depends on, as plain values."""
        return dict(alpha=self.alpha, contour_size=self.contour_size, dedupe_iou=self.dedupe_iou, **self.prior,
                    **self.selection)

    def candidates(self, cues: InstanceData, proposals: SegmentProposals) -> list[np.ndarray]:
        """Choose the candidates of each cue, as indices of proposals, best first.

        Args:
            cues (InstanceData): n cues with ``prms`` (n, H, W), or else ``maps``; ``cams`` (n, H, W), raw logits, are
                only needed for ``class_map_weight``.
            proposals (SegmentProposals): proposals of the same size (H, W).

        Raises:
            ValueError: if the sizes differ, or ``class_map_weight`` is set and there are no ``cams``.
        """
        scores, mass = self.score(cues, proposals)
        dedupe: dict = {} if self.dedupe_iou is None else dict(dedupe_iou=self.dedupe_iou, proposals=proposals)
        areas = proposals.areas() / np.prod(proposals.size)
        return select_candidates(scores, mass, areas, **self.selection, **dedupe)

    def score(self, cues: InstanceData, proposals: SegmentProposals) -> tuple[Tensor, Tensor]:
        """Score J proposals for n cues, and measure the mass of each cue's map inside each of them, both (n, J).

        Arguments and errors are those of :meth:`candidates`.
        """
        prms, cams = choose_matching_maps(cues).cpu(), cues.get('cams')  # the CPU is where they are matched and chosen
        if tuple(proposals.size) != tuple(prms.shape[-2:]):
            raise ValueError(
                f'proposals are {tuple(proposals.size)}, the response maps {tuple(prms.shape[-2:])} (height, width). '
                'Add dict(type="AlignSegmentProposals") to the training pipeline after Resize and RandomFlip')
        if len(prms) == 0 or len(proposals) == 0:
            return (prms.new_zeros((len(prms), len(proposals))), ) * 2
        scores, mass = match_proposals(prms, proposals, alpha=self.alpha, contour_size=self.contour_size)
        return scores + torch.from_numpy(prior_scores(proposals, **self.prior, cams=cams)).to(scores), mass

    def draw(self, candidates: list[np.ndarray], proposals: SegmentProposals, device: torch.device,
             iams: Tensor | None = None) -> PseudoGT:
        """Draw one candidate for each map: a random one, or while ``self_selecting`` the one with the best agreement.

        Random choices are uniform and come from torch's global generator.

        Args:
            candidates (list[ndarray]): n arrays from :meth:`candidates`, none empty.
            proposals (SegmentProposals): proposals of size (H, W).
            device (torch.device): device of the masks.
            iams (Tensor, optional): Instance Activation Maps as logits, has shape (n, H, W); only needed while
                ``self_selecting``.

        Raises:
            ValueError: if ``iams`` are needed and not given.
        """
        if self.self_selecting:
            if iams is None:
                raise ValueError('self-selection compares candidates with Instance Activation Maps; pass iams')
            tried = (torch.as_tensor(proposals.masks(options), device=iams.device) for options in candidates)
            return PseudoGT(*choose_most_agreeing(tried, iams.detach().float().sigmoid()))
        drawn = [int(options[torch.randint(len(options), ())]) for options in candidates]
        return PseudoGT(torch.from_numpy(proposals.masks(drawn)).to(device, non_blocking=True))

    def trusted(self, agreement: Tensor) -> Tensor:
        """Choose instances to train on, the ``trusted_fraction`` in best agreement: (n, ) -> (m, ) long, sorted."""
        return agreement.topk(math.ceil(self.trusted_fraction * len(agreement))).indices.sort().values


def choose_most_agreeing(options: Iterable[Tensor], probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Choose, for each of n maps in [0, 1], the mask that agrees best with it, and say how well it does.

    Args:
        options (Iterable[Tensor]): n stacks of masks, (k, H, W); k may differ between them.
        probabilities (Tensor): has shape (n, H, W).

    Returns:
        tuple[Tensor, Tensor]: masks (n, H, W), and their soft Dice coefficients (n, ).
    """
    chosen, agreement = [], []
    for masks, probability in zip(options, probabilities):
        values = soft_dice(probability.expand(masks.shape), masks)
        chosen.append(masks[values.argmax()])
        agreement.append(values.max())
    if not chosen:
        return probabilities.bool(), probabilities.new_zeros(0)
    return torch.stack(chosen), torch.stack(agreement)


def soft_dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Compute the Dice coefficients 2 <p, S> / (<p, p> + <S, S>) of maps in [0, 1] and masks, both (n, H, W): (n, )."""
    masks = masks.to(probabilities.dtype)
    inside = (probabilities * masks).sum((1, 2))
    total = (probabilities**2).sum((1, 2)) + masks.sum((1, 2))
    return 2 * inside / total.clamp(min=torch.finfo(total.dtype).tiny)
