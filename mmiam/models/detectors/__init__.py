from .given_boxes import GivenBoxes
from .iam_net import IAMNet

__all__ = ['GivenBoxes', 'IAMNet']
