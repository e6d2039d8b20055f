from .image_label_metric import ImageLabelMetric
from .localization_metric import LocalizationMetric
from .saliency_metric import SaliencyMetric
from .voc_instance_metric import VOCInstanceMetric

__all__ = ['ImageLabelMetric', 'LocalizationMetric', 'SaliencyMetric', 'VOCInstanceMetric']
