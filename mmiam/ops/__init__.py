from .boxes import box_iou, box_masks, ellipse_masks
from .class_maps import class_maps_over_image
from .conv_crf import conv_crf
from .extent_filling import extent_filling, normalize_filling_weights
from .mask_nms import mask_iou, mask_nms
from .morphology import dilate, erode, morphological_gradient
from .peak_backprop import Trace, peak_response_maps, trace
from .peak_stimulation import peak_stimulation
from .soft_proposal import soft_proposal

__all__ = [
    'Trace', 'box_iou', 'box_masks', 'class_maps_over_image', 'conv_crf', 'dilate', 'ellipse_masks', 'erode',
    'extent_filling', 'mask_iou', 'mask_nms', 'morphological_gradient', 'normalize_filling_weights',
    'peak_response_maps', 'peak_stimulation', 'soft_proposal', 'trace',
]
