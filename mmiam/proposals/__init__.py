"""Segment proposals as data: container, file formats, generators, matching."""
from .container import SegmentProposals
from .matching import match_proposals
from .pseudo_gt import select_candidates

__all__ = ['SegmentProposals', 'match_proposals', 'select_candidates']
