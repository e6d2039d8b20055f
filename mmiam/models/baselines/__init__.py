"""What the paper compares with, and its protocols: not the method."""
from .box_to_mask import BoxToMask
from .boxes_alone import BoxesAlone
from .class_map_boxes import ClassMapBoxes
from .class_map_threshold import ClassMapThreshold
from .detection_file_boxes import DetectionFileBoxes, load_detections
from .extent_box import ExtentBox
from .given_predictions import GivenPredictions
from .ground_truth_boxes import GroundTruthBoxes
from .proposal_retrieval import ProposalRetrieval
from .saliency_map import SaliencyMap
from .saved_saliency_map import SavedSaliencyMap
from .soft_proposal_head import SoftProposalHead
from .with_proposals import WithProposals

__all__ = [
    'BoxToMask', 'BoxesAlone', 'ClassMapBoxes', 'ClassMapThreshold', 'DetectionFileBoxes', 'ExtentBox',
    'GivenPredictions', 'GroundTruthBoxes', 'ProposalRetrieval', 'SaliencyMap', 'SavedSaliencyMap',
    'SoftProposalHead', 'WithProposals', 'load_detections'
]
