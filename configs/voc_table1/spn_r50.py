# The classifier with soft proposals (SPN). Only the highest peak of a class is back-propagated to the image, because
# boxes come from the response map, which is the same for all peaks of a class.
_base_ = ['../prm_r50_voc.py', './_base_/rows.py']
model = dict(
    peak_head=dict(type='SoftProposalHead', relative_peak_thr=1., keep_strongest=True),
    post_processor=dict(_delete_=True, type='BoxToMask', mask='rect', boxes={{_base_.spn_boxes}}, nms_iou=0.3),
    test_cfg=dict(baselines={{_base_.spn_rows}}))
test_evaluator = {{_base_.spn_metrics}}
