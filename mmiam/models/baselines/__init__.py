"""Baselines that the paper compares with, and its evaluation protocols; none of this is the method itself."""
from .box_to_mask import BoxToMask
from .boxes_without_masks import BoxesWithoutMasks
from .class_map_boxes import ClassMapBoxes, ClassMapThreshold
from .detection_file_boxes import DetectionFileBoxes, load_detections
from .extent_box import ExtentBox
from .ground_truth_boxes import GroundTruthBoxes
from .precomputed_predictions import PrecomputedPredictions
from .proposal_retrieval import ProposalRetrieval
from .saliency_map import SaliencyMap
from .saved_saliency_map import SavedSaliencyMap
from .soft_proposal_head import SoftProposalHead

__all__ = [
    'BoxToMask', 'BoxesWithoutMasks', 'ClassMapBoxes', 'ClassMapThreshold', 'DetectionFileBoxes', 'ExtentBox',
    'GroundTruthBoxes', 'PrecomputedPredictions', 'ProposalRetrieval', 'SaliencyMap', 'SavedSaliencyMap',
    'SoftProposalHead', 'load_detections'
]
