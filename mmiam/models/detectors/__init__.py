from .given_predictions import GivenPredictions
from .iam_net import IAMNet
from .refined_detector import RefinedDetector

__all__ = ['GivenPredictions', 'IAMNet', 'RefinedDetector']
