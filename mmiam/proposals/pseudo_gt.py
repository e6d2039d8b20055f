"""Choice of pseudo ground truth among scored proposals, Sec. 3.2 of the paper.

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
    """Compute what else speaks for a proposal than its match with a Peak Response Map, to be added to the match score.

    Not in the paper, which scores by the match alone. Our choice, because the response often covers only a small part
    of an instance, which says little about where the instance ends (measured in docs/experiments.md).

    Args:
        proposals (SegmentProposals): n proposals, best first according to their source.
        rank_weight (float): subtracted in proportion to a proposal's place in that order: 0 for the first proposal, all
            of it for the last.
        class_map_weight (float): weight of the proposal's IoU with the region where the class response map reaches half
            of its maximum; nothing is added if a map is nowhere positive.
        cams (Tensor, optional): class response maps as raw logits, (P, H, W) at the size of the proposals; only needed
            if ``class_map_weight`` is not 0.

    Returns:
        ndarray: float64, (P, n), or (1, n) without class maps.

    Raises:
        ValueError: if ``class_map_weight`` is set and there are no ``cams``.
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
    """Choose, among the top k proposals of each map without near-duplicates, those with enough of a map's mass.

    "After ranking the match scores for each PRM, we retain the top k proposals [...] and discard proposals with
    overlap max_i M^i * S_j lower than a threshold, i.e., 0.2." (Sec. 3.2)

    Args:
        scores (Tensor | ndarray): f from :func:`~mmiam.proposals.matching.match_proposals`, (P, n).
        mass (Tensor | ndarray): <M, S>, (P, n); a share, since each map sums to 1.
        areas (ndarray): (n,) areas as shares of the image, in [0, 1].
        k (int): most candidates per map, by default 5 (the paper's S5).
        overlap_thr (float): least overlap of a candidate, by default 0.2 (Sec. 3.2).
        overlap_rule (str): 'max' (the paper's text): the largest mass that any map of the image has inside the
            proposal; 'own': the mass of the map that ranks it.
        area_range (tuple): allowed areas, including the lower limit, but not the upper one. Not stated in the paper; as
            in PRM's code, because with a large alpha the whole image would win.
        min_score (float, optional): least score of a candidate. Not in the paper, which keeps the top k whatever their
            scores; our option, because candidates with low scores are mostly wrong (docs/experiments.md).
        dedupe_iou (float): two candidates of one map with at least this IoU count once: the better one stays, and the
            next in rank moves up. Our choice, because k equal masks are one candidate. Needs ``proposals``.
        proposals (SegmentProposals, optional): the n proposals, for ``dedupe_iou``; without them, duplicates stay.

    Returns:
        list[ndarray]: for each map, the int64 indices of its candidates by descending score; may be empty.

    Raises:
        ValueError: if shapes disagree, ``overlap_rule`` is unknown, or k is below 1.
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
    """Take the first k of ``ranked`` whose IoU with all that were taken before is below ``iou_thr``."""
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
