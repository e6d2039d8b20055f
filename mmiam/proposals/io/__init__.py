"""Reading segment proposals in the formats that people have."""
from .masks import proposals_from_masks
from .reading import FORMATS, find_proposal_file, load_proposals

__all__ = ['FORMATS', 'find_proposal_file', 'load_proposals', 'proposals_from_masks']
