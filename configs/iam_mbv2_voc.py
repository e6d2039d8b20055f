# The paper's configuration on MobileNetV2, small enough for a CPU: 320 x 320, the shallow layers frozen.
_base_ = [
    './_base_/models/iam_mbv2.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
fill_begin = 6
max_epochs = 18
scale = (320, 320)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}),
            dict(type='Resize', scale=scale, keep_ratio=False),
            dict(type='RandomFlip', prob=0.5),
            dict(type='AlignSegmentProposals'),
            dict(type='PackWeakInputs')
        ]))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=fill_begin)
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin)]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=fill_begin, end=fill_begin + 1, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=fill_begin + 1, end=max_epochs, convert_to_iter_based=True),
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
