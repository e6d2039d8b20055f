# Images at original size and no network: boxes are given, so there is nothing to train.
_base_ = ['../../_base_/datasets/voc_weak.py', '../../_base_/default_runtime.py']
model = dict(type='PrecomputedPredictions', data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True))
train_dataloader = None
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}),
        dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')
    ]))
test_cfg = dict(type='TestLoop')
