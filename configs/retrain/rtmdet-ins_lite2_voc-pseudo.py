# A small RTMDet-Ins on EfficientNet-Lite2, with the data and the schedule of the small Mask R-CNN; needs the full mmcv.
_base_ = './mask-rcnn_lite2_voc-pseudo.py'
channels = 96
max_epochs = 6
norm_cfg = dict(type='BN')
act_cfg = dict(type='SiLU', inplace=True)
model = dict(
    _delete_=True,
    type='RTMDet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[127., 127., 127.], std=[128., 128., 128.], bgr_to_rgb=True, pad_mask=True,
        pad_size_divisor=32),
    backbone=dict(type='EfficientNetLite', arch='lite2', out_indices=(3, 4, 5), frozen_stages=4),
    neck=dict(
        type='CSPNeXtPAFPN', in_channels=[48, 120, 352], out_channels=channels, num_csp_blocks=1, expand_ratio=0.5,
        norm_cfg=norm_cfg, act_cfg=act_cfg),
    bbox_head=dict(
        type='RTMDetInsSepBNHead', num_classes=20, in_channels=channels, feat_channels=channels, stacked_convs=2,
        share_conv=True, pred_kernel_size=1, norm_cfg=norm_cfg, act_cfg=act_cfg,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean')),
    train_cfg=dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.6), max_per_img=50,
        mask_thr_binary=0.5))
# when it enlarges masks, mmdet's head confuses the scale factors of height and width, so that some pixels may be
# missing at the border; with padding there are enough
val_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale={{_base_.size}}, keep_ratio=True),
        dict(type='Pad', size=(352, 352)),
        dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')
    ]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(bypass_duplicate=True))  # the levels share their convolutions
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min_ratio=0.02, convert_to_iter_based=True),
]
