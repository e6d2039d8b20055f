from .box_to_mask import BoxToMask
from .boxes_alone import BoxesAlone
from .class_map_threshold import ClassMapThreshold
from .conv_crf import ConvCRFPostProc
from .extent_box import ExtentBox
from .proposal_retrieval import ProposalRetrieval
from .saliency_map import SaliencyMap
from .saved_saliency_map import SavedSaliencyMap
from .with_proposals import WithProposals

__all__ = [
    'BoxToMask', 'BoxesAlone', 'ClassMapThreshold', 'ConvCRFPostProc', 'ExtentBox', 'ProposalRetrieval', 'SaliencyMap',
    'SavedSaliencyMap', 'WithProposals'
]
