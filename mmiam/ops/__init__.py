from .conv_crf import conv_crf
from .extent_filling import extent_filling, normalize_filling_weights
from .mask_nms import mask_iou, mask_nms
from .morphology import dilate, erode, morphological_gradient
from .peak_backprop import Trace, peak_response_maps, trace
from .peak_stimulation import peak_stimulation

__all__ = [
    'Trace', 'conv_crf', 'dilate', 'erode', 'extent_filling', 'mask_iou', 'mask_nms',
    'morphological_gradient', 'normalize_filling_weights', 'peak_response_maps', 'peak_stimulation',
    'trace',
]
