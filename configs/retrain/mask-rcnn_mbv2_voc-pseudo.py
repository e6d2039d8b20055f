# Mask R-CNN at a size that two CPU cores can train: MobileNetV2, a small FPN and small heads, 320 pixels; needs the
# full mmcv.
_base_ = './mask-rcnn_r50_voc-pseudo.py'
import os  # noqa: E402

channels = 96
size = (320, 320)
max_epochs = 12
roi_extractor = dict(out_channels=channels, finest_scale=28)  # half of what suits images of 800 pixels
model = dict(
    # the weights come from the public 8-bit MobileNetV2, which takes RGB scaled to [-1, 1]
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint=os.environ.get('MMIAM_MBV2_WEIGHTS') or 'weights/mobilenet_v2_imagenet.pth')),
    neck=dict(in_channels=[24, 32, 96, 1280], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=channels, fc_out_channels=256),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(num_convs=2, in_channels=channels, conv_out_channels=channels)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=500, max_per_img=300),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200), rcnn=dict(max_per_img=50)))
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='Resize', scale=size, keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs')
    ]))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=size, keep_ratio=True),
        dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')
    ]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
# AdamW, as in iam-plus_mbv2_voc.py: the heads start from scratch and have a few thousand steps
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}, norm_decay_mult=0.),
    clip_grad=dict(max_norm=10.))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min_ratio=0.02, convert_to_iter_based=True),
]
