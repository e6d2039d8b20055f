from .conv_crf import conv_crf
from .extent_filling import extent_filling, normalize_filling_weights
from .mask_nms import mask_iou, mask_nms
from .morphology import dilate, erode, morphological_gradient

__all__ = [
    'conv_crf', 'dilate', 'erode', 'extent_filling', 'mask_iou', 'mask_nms', 'morphological_gradient',
    'normalize_filling_weights',
]
