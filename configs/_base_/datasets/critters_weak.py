# The procedural data set of tools/misc/make_critters.py, whose classes differ in the head alone.
_base_ = './voc_weak.py'
import os  # noqa: E402

data_root = os.environ.get('CRITTERS_ROOT') or 'data/critters'
proposal_root = os.environ.get('CRITTERS_PROPOSALS') or 'data/critters/proposals'
metainfo = dict(classes=('badger', 'boar', 'hare', 'ram', 'rooster', 'toucan'))
scale = (128, 128)

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
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root, ann_file='ImageSets/Segmentation/train.txt', metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False,
                      dataset=dict(
                          data_root=data_root, metainfo=metainfo, mask_classes=None, pipeline=test_pipeline))
test_dataloader = dict(num_workers=0, persistent_workers=False,
                       dataset=dict(
                          data_root=data_root, metainfo=metainfo, mask_classes=None, pipeline=test_pipeline))
