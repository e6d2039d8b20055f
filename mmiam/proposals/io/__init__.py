"""Reading segment proposals in the formats that people have."""
from .reading import find_proposal_file, load_proposals

__all__ = ['find_proposal_file', 'load_proposals']
