"""Readers for segment proposals in common formats."""
from .masks import proposals_from_masks
from .reading import READERS, find_proposal_file, known_suffixes, load_proposals

__all__ = ['READERS', 'find_proposal_file', 'known_suffixes', 'load_proposals', 'proposals_from_masks']
