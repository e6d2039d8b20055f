_base_ = ['./_base_/no_network.py', './_base_/melm.py']
row = 'MELM Proposal'
model = dict(
    post_processor=dict(
        type='WithProposals',
        proposal_root={{_base_.proposal_root}},
        post_processor=dict(type='BoxToMask', mask='proposal', boxes={{_base_.boxes}}, nms_iou={{_base_.nms_iou}})))
