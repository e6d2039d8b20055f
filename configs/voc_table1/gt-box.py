# Ground-truth boxes (tight boxes around the evaluated masks); all of them are correct, so none is suppressed.
_base_ = './_base_/no_network.py'
boxes = dict(type='GroundTruthBoxes')
model = dict(
    post_processor=dict(type='BoxToMask', mask='rect', boxes=boxes, nms_iou=None),
    test_cfg=dict(
        baselines=dict(
            ellipse=dict(type='BoxToMask', mask='ellipse', boxes=boxes, nms_iou=None),
            proposal=dict(type='BoxToMask', mask='proposal', boxes=boxes, nms_iou=None))))
test_evaluator = [
    dict(type='VOCInstanceMetric', prefix='Ground Truth Box Rect'),
    dict(type='VOCInstanceMetric', prefix='Ground Truth Box Ellipse', pred_field='pred_instances_ellipse'),
    dict(type='VOCInstanceMetric', prefix='Ground Truth Box Proposal', pred_field='pred_instances_proposal'),
]
