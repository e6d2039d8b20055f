# What several passes of Table 1 share. Three strategies turn a box into a mask (BoxToMask); each gives a row.
# CAM (Zhou et al., CVPR 2016): boxes around the regions above 20 % of the maximum of a class response map. The maps are
# those of the peak-stimulated classifier from which PRM and IAM start, as in the paper's Fig. 2.
cam_boxes = dict(type='ClassMapBoxes', rule='max', ratio=0.2)
peak_rows = dict(
    prm=dict(type='ProposalRetrieval'),
    cam_rect=dict(type='BoxToMask', mask='rect', boxes=cam_boxes, nms_iou=0.3),
    cam_ellipse=dict(type='BoxToMask', mask='ellipse', boxes=cam_boxes, nms_iou=0.3),
    cam_proposal=dict(type='BoxToMask', mask='proposal', boxes=cam_boxes, nms_iou=0.3))
peak_metrics = [
    dict(type='VOCInstanceMetric', prefix='CAM Rect', pred_field='pred_instances_cam_rect'),
    dict(type='VOCInstanceMetric', prefix='CAM Ellipse', pred_field='pred_instances_cam_ellipse'),
    dict(type='VOCInstanceMetric', prefix='CAM Proposal', pred_field='pred_instances_cam_proposal'),
    dict(type='VOCInstanceMetric', prefix='PRM', pred_field='pred_instances_prm'),
    dict(type='VOCInstanceMetric', prefix='IAM'),
]
# SPN (Zhu et al., ICCV 2017): boxes around the regions above the mean of a class response map, following the public
# code (github.com/yeezhu/SPN.pytorch).
spn_boxes = dict(type='ClassMapBoxes', rule='mean', ratio=1.)
spn_rows = dict(
    ellipse=dict(type='BoxToMask', mask='ellipse', boxes=spn_boxes, nms_iou=0.3),
    proposal=dict(type='BoxToMask', mask='proposal', boxes=spn_boxes, nms_iou=0.3))
spn_metrics = [
    dict(type='VOCInstanceMetric', prefix='SPN Rect'),
    dict(type='VOCInstanceMetric', prefix='SPN Ellipse', pred_field='pred_instances_ellipse'),
    dict(type='VOCInstanceMetric', prefix='SPN Proposal', pred_field='pred_instances_proposal'),
]
