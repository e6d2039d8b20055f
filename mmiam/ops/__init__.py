from .class_maps import class_maps_over_image
from .conv_crf import conv_crf
from .extent_filling import extent_filling, normalize_filling_weights
from .mask_nms import mask_iou, mask_nms
from .peak_backprop import Trace, peak_response_maps
from .peak_stimulation import peak_stimulation

__all__ = [
    'Trace', 'class_maps_over_image', 'conv_crf', 'extent_filling', 'mask_iou', 'mask_nms',
    'normalize_filling_weights', 'peak_response_maps', 'peak_stimulation'
]
