from .iam_net import IAMNet

__all__ = ['IAMNet']
