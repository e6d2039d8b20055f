from .best_overlap import BestOverlap, best_overlap, best_threshold_iou
from .classification_ap import ClassificationAP, classification_average_precision
from .records import InstanceScores, evaluate_records
from .voc_instance_ap import ClassAP, ImageOverlaps, image_overlaps, instance_average_precision

__all__ = [
    'BestOverlap', 'ClassAP', 'ClassificationAP', 'ImageOverlaps', 'InstanceScores', 'best_overlap',
    'best_threshold_iou', 'classification_average_precision', 'evaluate_records', 'image_overlaps',
    'instance_average_precision'
]
