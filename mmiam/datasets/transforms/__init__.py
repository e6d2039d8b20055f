from .formatting import PackWeakInputs
from .instances import LoadVOCInstances
from .segment_proposals import AlignSegmentProposals, LoadSegmentProposals

__all__ = ['AlignSegmentProposals', 'LoadSegmentProposals', 'LoadVOCInstances', 'PackWeakInputs']
