# VOC 2012 with image-level labels; masks are read at test time only.
_base_ = []  # must come before the import, or mmengine takes the file for a lazy config
import os  # noqa: E402

dataset_type = 'VOCInstanceDataset'
data_root = os.environ.get('VOC_ROOT') or 'data/VOCdevkit/VOC2012'
proposal_root = os.environ.get('VOC_PROPOSALS') or 'data/proposals/voc2012'
scale = (448, 448)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentProposals', proposal_root=proposal_root),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='AlignSegmentProposals'),
    dict(type='PackWeakInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/train_aug.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        mask_classes='voc',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ImageLabelMetric'),
    dict(type='VOCInstanceMetric', iou_thrs=(0.25, 0.5, 0.75)),
]
test_evaluator = val_evaluator
