from .base import BasePostProcessor
from .conv_crf import ConvCRFPostProc

__all__ = ['BasePostProcessor', 'ConvCRFPostProc']
