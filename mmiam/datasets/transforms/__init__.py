from .formatting import PackWeakInputs
from .instances import LoadVOCInstances
from .saliency import InstancesToSaliencyMask, LoadSaliencyMask
from .segment_proposals import AlignSegmentProposals, LoadSegmentProposals

__all__ = ['AlignSegmentProposals', 'InstancesToSaliencyMask', 'LoadSaliencyMask', 'LoadSegmentProposals',
           'LoadVOCInstances', 'PackWeakInputs']
