_base_ = '../_base_/classifier_mbv2.py'
row = 'PRM'
weights = ('prm', 'iam-s5')
model = dict(
    post_processor=dict(
        _delete_=True,
        type='WithProposals',
        proposal_root={{_base_.proposal_root}},
        post_processor=dict(type='ProposalRetrieval')))
