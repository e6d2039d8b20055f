_base_ = ['./_base_/no_network.py', './_base_/melm.py']
row = 'MELM Ellipse'
model = dict(post_processor=dict(type='BoxToMask', mask='ellipse', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
