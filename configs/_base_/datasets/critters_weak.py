# The procedural data set of tools/misc/make_critters.py: classes show on the head alone.
_base_ = './voc_weak.py'
data_root = '{{$CRITTERS_ROOT:data/critters}}'
proposal_root = '{{$CRITTERS_PROPOSALS:data/critters/proposals}}'
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
                      dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = dict(num_workers=0, persistent_workers=False,
                       dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
