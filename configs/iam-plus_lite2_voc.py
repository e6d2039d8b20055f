# The published model `voc20`: EfficientNet-Lite2, 320 x 320, the twenty classes of VOC. tools/train_frozen.py stores
# the outputs of the backbone once and trains head and filling module on them (model-zoo.md has the whole command).
_base_ = [
    './_base_/models/iam-plus_lite2.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py', './_base_/tiles.py'
]
scale = (320, 320)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
train_dataloader = dict(
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
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [_base_.tta_pipeline[0], dict(type='LoadVOCInstances'), *_base_.tta_pipeline[1:]]
