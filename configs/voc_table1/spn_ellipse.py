_base_ = ['./_base_/spn_classifier_r50.py', './_base_/spn.py']
row = 'SPN Ellipse'
model = dict(
    post_processor=dict(
        _delete_=True, type='BoxToMask', mask='ellipse', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}}))
