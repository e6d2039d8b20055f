"""Pseudo ground truth from noisy segment proposals (Sec. 3.2, "Collecting pseudo supervision").

Legend: n Peak Response Maps of one image, J proposals, k candidates a map, m drawn masks, H x W size
of the maps.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from mmiam.proposals import SegmentProposals, match_proposals, prior_scores, select_candidates


@dataclass
class PseudoGT:
    """A drawn pseudo mask for each map that has candidates.

    Attributes:
        masks (Tensor): bool, has shape (m, H, W).
        keep (Tensor): which maps they belong to, long, has shape (m, ).
        num_candidates (int): candidates kept over all maps.
        num_dropped (int): maps without any candidate.
        agreement (Tensor | None): soft Dice coefficient of each mask with the Instance
            Activation Map that chose it, in [0, 1], has shape (m, ); None for masks drawn at random.
    """
    masks: Tensor
    keep: Tensor
    num_candidates: int
    num_dropped: int
    agreement: Tensor | None = None


@TASK_UTILS.register_module()
class ProposalPseudoGTSampler:
    """Score proposals against each map, keep the top k, draw one at random each time.

    Args:
        num_candidates (int): k; the paper compares 1, 5 and 9 (Table 1).
        alpha (float): weight of the extent term of the matching score.
        contour_size (int): side of the morphological gradient that gives the contour.
        overlap_thr (float): candidates whose overlap with the maps is lower are
            discarded; 0.2 in the paper.
        overlap_rule (str): 'max' takes the largest mass over all maps of the image
            (the formula of the paper), 'own' the mass of the candidate's own map.
        area_range (tuple[float]): proposals outside these fractions of the image are
            no candidates (the PRM reference's values).
        min_score (float | None): candidates that score lower are discarded, so that a map
            without a good one teaches nothing; None, as in the paper, keeps them.
        dedupe_iou (float | None): candidates of one map that overlap more than this
            count once.
        rank_weight, class_map_weight (float): see
            :func:`mmiam.proposals.prior_scores`; 0, as in the paper, is the match alone.
        keep_ratio (float): share of a batch's instances, those in best agreement, that
            teach while ``agreeing``. Not in the paper; our option, because the filling
            module's maps tell wrong pseudo masks from right ones better than the match
            does (docs/experiments.md). What a network fits with a large loss is likely to
            be wrongly labelled: Han et al., Co-teaching, NeurIPS 2018.

    While ``agreeing``, which :class:`TrainingStageHook` sets from its epoch ``agree_begin`` on, each map takes the
    candidate that agrees best with the current Instance Activation Map instead of a random one.
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
                 keep_ratio: float = 1.):
        if not 0 < keep_ratio <= 1:
            raise ValueError(f'keep_ratio is a share above 0 and at most 1, got {keep_ratio}')
        self.keep_ratio = keep_ratio
        self.agreeing = False
        self.alpha = alpha
        self.contour_size = contour_size
        self.dedupe_iou = dedupe_iou
        self.prior = dict(rank_weight=rank_weight, class_map_weight=class_map_weight)
        self.selection = dict(
            k=num_candidates, overlap_thr=overlap_thr, overlap_rule=overlap_rule, area_range=area_range,
            min_score=min_score)

    def candidates(self, cues: InstanceData, proposals: SegmentProposals) -> list[np.ndarray]:
        """Indices of the candidates of each cue, best first.

        Args:
            cues (InstanceData): n cues with ``prms`` (n, H, W), else ``maps``; ``cams`` (n, H, W), raw logits, are
                needed by ``class_map_weight`` alone.
            proposals (SegmentProposals): of the same size (H, W).

        Raises:
            ValueError: if the sizes differ, or ``class_map_weight`` has no maps.
        """
        maps, cams = cues.get('prms', cues.get('maps')), cues.get('cams')
        prms = maps / maps.sum((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
        if tuple(proposals.size) != tuple(prms.shape[-2:]):
            raise ValueError(
                f'proposals are {tuple(proposals.size)}, the response maps {tuple(prms.shape[-2:])} (height, width). '
                'Add dict(type="AlignSegmentProposals") to the training pipeline after Resize and RandomFlip')
        if len(prms) == 0 or len(proposals) == 0:
            return [np.zeros(0, dtype=np.int64) for _ in prms]
        scores, mass = match_proposals(prms, proposals, alpha=self.alpha, contour_size=self.contour_size)
        scores = scores + torch.from_numpy(prior_scores(proposals, **self.prior, cams=cams)).to(scores)
        dedupe = {} if self.dedupe_iou is None else dict(dedupe_iou=self.dedupe_iou, proposals=proposals)
        areas = proposals.areas() / np.prod(proposals.size)
        return select_candidates(scores, mass, areas, **self.selection, **dedupe)

    def draw(self, candidates: list[np.ndarray], proposals: SegmentProposals, device: torch.device,
             iams: Tensor | None = None) -> PseudoGT:
        """Take one candidate for each map: a random one, or while ``agreeing`` the one in best agreement.

        Args:
            candidates (list[ndarray]): of :meth:`candidates`.
            proposals (SegmentProposals): of size (H, W).
            device (torch.device): of the masks.
            iams (Tensor, optional): Instance Activation Maps as logits, has shape (n, H, W); needed while
                ``agreeing`` alone.

        Random choices are uniform, from torch's global generator.
        """
        keep = [i for i, options in enumerate(candidates) if len(options)]
        if self.agreeing:
            masks, agreement = self._agreed([candidates[i] for i in keep], proposals, iams.detach()[keep].float())
        else:
            drawn = [int(candidates[i][torch.randint(len(candidates[i]), ())]) for i in keep]
            masks, agreement = torch.as_tensor(proposals.masks(drawn), device=device), None
        return PseudoGT(
            masks, torch.tensor(keep, dtype=torch.long, device=device),
            num_candidates=sum(map(len, candidates)), num_dropped=len(candidates) - len(keep), agreement=agreement)

    @staticmethod
    def _agreed(candidates: list[np.ndarray], proposals: SegmentProposals, iams: Tensor) -> tuple[Tensor, Tensor]:
        """The mask of each map in best agreement with its logits (m, H, W), and the agreement (m, )."""
        masks, agreement = iams.new_zeros(iams.shape, dtype=torch.bool), iams.new_zeros(len(iams))
        for i, (options, iam) in enumerate(zip(candidates, iams)):  # numbers of candidates differ
            tried = torch.as_tensor(proposals.masks(options), device=iams.device)
            values = soft_dice(iam.sigmoid().expand(tried.shape), tried)
            best = values.argmax()
            masks[i], agreement[i] = tried[best], values[best]
        return masks, agreement

    def teaching(self, agreement: Tensor) -> Tensor:
        """Which instances of a batch teach: the ``keep_ratio`` in best agreement, (n, ) -> (m, ) long, ascending."""
        return agreement.topk(math.ceil(self.keep_ratio * len(agreement))).indices.sort().values


def soft_dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Dice coefficient 2 <p, S> / (<p, p> + <S, S>) of maps in [0, 1] and masks, (n, H, W) both, has shape (n, )."""
    masks = masks.to(probabilities.dtype)
    inside = (probabilities * masks).sum((1, 2))
    total = (probabilities**2).sum((1, 2)) + masks.sum((1, 2))
    return 2 * inside / total.clamp(min=torch.finfo(total.dtype).tiny)
