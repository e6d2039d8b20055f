from .formatting import PackWeakInputs
from .ground_truth import InstancesToSaliencyMask, LoadSaliencyMask, LoadVOCInstances
from .segment_proposals import AlignSegmentProposals, LoadSegmentProposals
from .tiles import CropTile

__all__ = ['AlignSegmentProposals', 'CropTile', 'InstancesToSaliencyMask', 'LoadSaliencyMask', 'LoadSegmentProposals',
           'LoadVOCInstances', 'PackWeakInputs']
