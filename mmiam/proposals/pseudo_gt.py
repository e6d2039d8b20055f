"""Choosing pseudo ground truth among scored proposals, Sec. 3.2 of the paper.

Legend: P Peak Response Maps of one image, n proposals.
"""
from __future__ import annotations

import numpy as np
from torch import Tensor

from mmiam.utils.images import to_numpy

from .container import SegmentProposals
from .matching import proposal_iou


def prior_scores(proposals: SegmentProposals, rank_weight: float = 0., class_map_weight: float = 0.,
                 cams: Tensor | None = None) -> np.ndarray:
    """What speaks for a proposal besides its match with a Peak Response Map: to be added to the matching score.

    Not in the paper, which scores by the match alone. Our choice, because the response often covers a small part of
    an instance, which says little about where the instance ends (measured in docs/experiments.md).

    Args:
        proposals (SegmentProposals): n proposals, best first by their source.
        rank_weight (float): Subtracted in proportion to a proposal's place in that order: 0 for the first, all of it
            for the last.
        class_map_weight (float): Weight of the proposal's IoU with the region where the class response map reaches
            half of its maximum; nothing is added for a map that is nowhere positive.
        cams (Tensor, optional): Class response maps, raw logits, (P, H, W) at the size of the proposals. Needed if
            ``class_map_weight`` is not 0.

    Returns:
        ndarray: float64, (1, n) without class maps, else (P, n).

    Raises:
        ValueError: if ``class_map_weight`` is given without ``cams``.
    """
    scores = -rank_weight * np.linspace(0, 1, len(proposals))[None]
    if class_map_weight:
        if cams is None:
            raise ValueError('class_map_weight needs class response maps, which these cues do not have: set it to 0')
        highest = cams.amax((1, 2), keepdim=True)
        region = (cams >= 0.5 * highest) & (highest > 0)
        scores = scores + class_map_weight * proposal_iou(region, proposals).numpy()
    return scores


def select_candidates(scores: Tensor | np.ndarray, mass: Tensor | np.ndarray, areas: np.ndarray, k: int = 5,
                      overlap_thr: float = 0.2, overlap_rule: str = 'max',
                      area_range: tuple[float, float] = (2e-5, 0.85), min_score: float | None = None,
                      dedupe_iou: float = 0.95, proposals: SegmentProposals | None = None) -> list[np.ndarray]:
    """The top k proposals of each map, without near-duplicates, that hold enough of a map's mass.

    "After ranking the match scores for each PRM, we retain the top k proposals [...] and discard proposals with
    overlap max_i M^i * S_j lower than a threshold, i.e., 0.2." (Sec. 3.2)

    Args:
        scores (Tensor | ndarray): f of :func:`~mmiam.proposals.matching.match_proposals`, (P, n).
        mass (Tensor | ndarray): <M, S>, (P, n); each map sums to 1, so it is a share.
        areas (ndarray): (n,) areas as a share of the image, in [0, 1].
        k (int): Candidates a map. Defaults to 5 (the paper's S5).
        overlap_thr (float): Least overlap of a candidate. Defaults to 0.2, Sec. 3.2.
        overlap_rule (str): 'max' (the paper's text): the largest mass that any map of the image has inside the
            proposal; 'own': the mass of the map that ranks it.
        area_range (tuple): Areas allowed, lower limit included, upper one not. Not stated in the paper; as in
            PRM's code, because with a large alpha the whole image would win.
        min_score (float, optional): Least score of a candidate. Not in the paper, which keeps the top k whatever
            they score; our choice as an option, because what scores low is mostly wrong (docs/experiments.md).
        dedupe_iou (float): Two candidates of one map with this IoU or more count once: the better one stays and
            the next in rank moves up. Our choice, because k equal masks are one candidate. Needs ``proposals``.
        proposals (SegmentProposals, optional): The n proposals, for ``dedupe_iou``.

    Returns:
        list[ndarray]: for each map the int64 indices of its candidates by descending score; may be empty.

    Raises:
        ValueError: if shapes disagree or ``overlap_rule`` is unknown.
    """
    scores, mass = to_numpy(scores), to_numpy(mass)
    areas = np.asarray(areas, dtype=np.float64)
    if scores.shape != mass.shape or scores.ndim != 2 or areas.shape != scores.shape[1:]:
        raise ValueError(f'scores and mass must be (P, n) and areas (n,): got {scores.shape}, {mass.shape} and '
                         f'{areas.shape}')
    if overlap_rule not in ('max', 'own'):
        raise ValueError(f"overlap_rule must be 'max' or 'own', got {overlap_rule!r}")
    if k < 1:
        raise ValueError(f'k must be at least 1, got {k}')
    if not scores.size:
        return [np.zeros(0, np.int64) for _ in scores]
    allowed = np.flatnonzero((areas >= area_range[0]) & (areas < area_range[1]))
    overlap = np.broadcast_to(mass.max(0), mass.shape) if overlap_rule == 'max' else mass
    result = []
    for i in range(len(scores)):  # a handful of maps; each stops after few candidates
        ranked = allowed[np.argsort(-scores[i, allowed], kind='stable')]
        top = ranked[:k] if proposals is None else _first_distinct(ranked, k, dedupe_iou, proposals)
        kept = overlap[i, top] >= overlap_thr
        if min_score is not None:
            kept &= scores[i, top] >= min_score
        result.append(top[kept])
    return result


def _first_distinct(ranked: np.ndarray, k: int, iou_thr: float, proposals: SegmentProposals) -> np.ndarray:
    """The first k of ``ranked`` whose IoU with every one taken before is below ``iou_thr``."""
    taken: list[int] = []
    for start in range(0, len(ranked), 4 * k):
        chunk = ranked[start:start + 4 * k]
        pool = np.concatenate([np.array(taken, np.int64), chunk])
        near = proposals.pairwise_iou(pool, pool) >= iou_thr
        kept = list(range(len(taken)))
        for position in range(len(taken), len(pool)):
            if len(kept) < k and not near[position, kept].any():
                kept.append(position)
        taken = pool[kept].tolist()
        if len(taken) == k:
            break
    return np.array(taken, np.int64)
