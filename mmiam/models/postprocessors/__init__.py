from .class_map_threshold import ClassMapThreshold
from .conv_crf import ConvCRFPostProc
from .proposal_retrieval import ProposalRetrieval

__all__ = ['ClassMapThreshold', 'ConvCRFPostProc', 'ProposalRetrieval']
