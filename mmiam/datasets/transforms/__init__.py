from .formatting import PackWeakInputs
from .instances import LoadVOCInstances
from .saliency import InstancesToSaliencyMask, LoadSaliencyMask
from .segment_proposals import AlignSegmentProposals, LoadSegmentProposals
from .tiles import CropTile

__all__ = ['AlignSegmentProposals', 'CropTile', 'InstancesToSaliencyMask', 'LoadSaliencyMask', 'LoadSegmentProposals',
           'LoadVOCInstances', 'PackWeakInputs']
