"""Segment proposals as data: container, file formats, generators, matching."""
from .container import SegmentProposals
from .matching import match_proposals, proposal_iou
from .pseudo_gt import prior_scores, select_candidates

__all__ = ['SegmentProposals', 'match_proposals', 'prior_scores', 'proposal_iou', 'select_candidates']
