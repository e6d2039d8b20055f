_base_ = ['./_base_/no_network.py', './_base_/gt-box.py']
row = 'Ground Truth Box Rect'
model = dict(post_processor=dict(type='BoxToMask', mask='rect', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
