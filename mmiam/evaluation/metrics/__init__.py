from .image_label_metric import ImageLabelMetric
from .saliency_metric import SaliencyMetric
from .voc_instance_metric import VOCInstanceMetric

__all__ = ['ImageLabelMetric', 'SaliencyMetric', 'VOCInstanceMetric']
