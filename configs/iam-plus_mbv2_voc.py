# Not the paper (that is iam_mbv2_voc.py), but what works best with MobileNetV2 and is small enough for a CPU:
# 320 x 320, shallow layers frozen, and our additions to the method (docs/experiments.md).
_base_ = [
    './_base_/models/iam-plus_mbv2.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
fill_begin = 6
select_begin = 8
max_epochs = 12
scale = (320, 320)

model = dict(train_cfg=dict(max_instances=24))

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}, max_proposals=400),
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
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin, select_begin=select_begin)]
# AdamW, because it gets further than SGD in six epochs on a few hundred images. The backbone hardly moves, because with
# a higher rate it forgets what it knows (docs/experiments.md). The paper's SGD is in iam_r50_voc.py.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-4),
    paramwise_cfg=dict(
        _delete_=True, custom_keys={'backbone': dict(lr_mult=0.01), 'filler': dict(lr_mult=17.)}))  # 3e-5, 5e-3
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=0.1, begin=0, end=fill_begin, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=fill_begin, end=max_epochs, convert_to_iter_based=True),
]
