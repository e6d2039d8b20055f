# MELM (Wan et al., CVPR 2018): its detections come from a file (docs/table1.md) and have been through its own NMS.
_base_ = './_base_/no_network.py'
import os  # noqa: E402

boxes = dict(
    type='DetectionFileBoxes',
    path=os.environ.get('MELM_DETECTIONS') or 'data/melm/detections.json',
    classes=('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
             'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'))
model = dict(
    post_processor=dict(type='BoxToMask', mask='rect', boxes=boxes, nms_iou=None),
    test_cfg=dict(
        baselines=dict(
            ellipse=dict(type='BoxToMask', mask='ellipse', boxes=boxes, nms_iou=None),
            proposal=dict(type='BoxToMask', mask='proposal', boxes=boxes, nms_iou=None))))
test_evaluator = [
    dict(type='VOCInstanceMetric', prefix='MELM Rect'),
    dict(type='VOCInstanceMetric', prefix='MELM Ellipse', pred_field='pred_instances_ellipse'),
    dict(type='VOCInstanceMetric', prefix='MELM Proposal', pred_field='pred_instances_proposal'),
]
