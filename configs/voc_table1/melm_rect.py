_base_ = ['./_base_/no_network.py', './_base_/melm.py']
row = 'MELM Rect'
model = dict(post_processor=dict(type='BoxToMask', mask='rect', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
