from .class_map_boxes import ClassMapBoxes
from .detection_file_boxes import DetectionFileBoxes, load_detections
from .ground_truth_boxes import GroundTruthBoxes

__all__ = ['ClassMapBoxes', 'DetectionFileBoxes', 'GroundTruthBoxes', 'load_detections']
