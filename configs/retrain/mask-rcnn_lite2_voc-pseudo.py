# The same small Mask R-CNN on EfficientNet-Lite2, whose ImageNet weights come with a pip package; needs the full mmcv.
_base_ = './mask-rcnn_mbv2_voc-pseudo.py'
max_epochs = 4
model = dict(
    data_preprocessor=dict(mean=[127., 127., 127.], std=[128., 128., 128.]),
    backbone=dict(_delete_=True, type='EfficientNetLite', arch='lite2', out_indices=(2, 3, 4, 5), frozen_stages=4),
    neck=dict(in_channels=[24, 48, 120, 352]))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min_ratio=0.02, convert_to_iter_based=True),
]
