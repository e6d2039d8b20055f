"""Convolutional CRF."""
from .crf import conv_crf

__all__ = ['conv_crf']
