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
            dict(type='AlignSegmentProposals', prepare_contour=5),
            dict(type='PackWeakInputs')
        ]))
