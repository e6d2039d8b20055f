from .iam_net import IAMNet
from .refined_detector import RefinedDetector

__all__ = ['IAMNet', 'RefinedDetector']
