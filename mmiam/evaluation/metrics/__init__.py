from .image_label_metric import ImageLabelMetric
from .voc_instance_metric import VOCInstanceMetric

__all__ = ['ImageLabelMetric', 'VOCInstanceMetric']
