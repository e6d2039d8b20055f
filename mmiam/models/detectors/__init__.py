from .given_boxes import GivenBoxes
from .iam_net import IAMNet
from .refined_detector import RefinedDetector

__all__ = ['GivenBoxes', 'IAMNet', 'RefinedDetector']
