# Your own images with nothing but tags. Set these environment variables, or the keys in parentheses by --cfg-options:
#   OWN_IMAGES     image folder (img_root)
#   OWN_LABELS     .csv or COCO .json with tags (ann_file); if unset, 'folders': one folder per class in OWN_IMAGES
#   OWN_VAL_LABELS tags of held-out images; if unset, those of OWN_LABELS
#   OWN_PROPOSALS  output of tools/proposals/generate.py (proposal_root)
_base_ = []  # must come before the import, or mmengine takes the file for a lazy config
import os  # noqa: E402

dataset_type = 'WeakLabelDataset'
img_root = os.environ.get('OWN_IMAGES') or 'data/own/images'
ann_file = os.environ.get('OWN_LABELS') or 'folders'
val_ann_file = os.environ.get('OWN_VAL_LABELS') or ann_file
proposal_root = os.environ.get('OWN_PROPOSALS') or 'data/own/proposals'
scale = (320, 320)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentProposals', proposal_root=proposal_root, max_proposals=400),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='AlignSegmentProposals'),
    dict(type='PackWeakInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='PackWeakInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, img_root=img_root, ann_file=ann_file, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, img_root=img_root, ann_file=val_ann_file, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
# there are no masks to compare with, so only the classifier can be measured
val_evaluator = [dict(type='ImageLabelMetric')]
test_evaluator = val_evaluator
