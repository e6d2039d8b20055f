# The PRM baseline (Zhou et al., CVPR 2018): only the classifier, which is stage 1 of iam_r50_voc.py and is trained
# without proposals. At test time, masks come from proposal retrieval.
_base_ = './iam_r50_voc.py'
model = dict(filler=None, sampler=None, post_processor=dict(_delete_=True, type='ProposalRetrieval'))
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackWeakInputs')
    ]))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}),
    dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_epochs={{_base_.fill_begin}}, val_interval={{_base_.fill_begin}})
param_scheduler = []
custom_hooks = []
