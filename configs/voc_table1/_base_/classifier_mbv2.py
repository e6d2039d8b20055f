# The classifier alone, MobileNetV2: stage 1 of iam-plus_mbv2_voc.py, trained without proposals.
_base_ = '../../iam-plus_mbv2_voc.py'
model = dict(filler=None, sampler=None)
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackWeakInputs')
    ]))
train_cfg = dict(max_epochs={{_base_.fill_begin}}, val_interval={{_base_.fill_begin}})
param_scheduler = []
custom_hooks = []
