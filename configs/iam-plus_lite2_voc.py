# The published model `voc20`: EfficientNet-Lite2, 320 x 320, the twenty classes of VOC (docs/model_zoo_howto.md).
_base_ = [
    './_base_/models/iam-plus_lite2.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
scale = (320, 320)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='PackWeakInputs')
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
