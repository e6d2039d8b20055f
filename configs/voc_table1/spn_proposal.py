_base_ = ['./_base_/spn_classifier_r50.py', './_base_/spn.py']
row = 'SPN Proposal'
model = dict(
    post_processor=dict(
        _delete_=True,
        type='WithProposals',
        proposal_root={{_base_.proposal_root}},
        post_processor=dict(type='BoxToMask', mask='proposal', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}})))
