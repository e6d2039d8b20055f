_base_ = ['../_base_/classifier_mbv2.py', '../_base_/cam.py']
row = 'CAM Ellipse'
model = dict(
    post_processor=dict(
        _delete_=True, type='BoxToMask', mask='ellipse', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
