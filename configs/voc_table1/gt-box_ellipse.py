_base_ = ['./_base_/no_network.py', './_base_/gt-box.py']
row = 'Ground Truth Box Ellipse'
model = dict(post_processor=dict(type='BoxToMask', mask='ellipse', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
