# A transformer, the backbone of one of mmdet's own configs. Peak back-propagation has no rule for attention, so its
# plain gradient is used, which a warning says once. Not tuned: the thresholds of the peaks are those for ResNet-50.
_base_ = '../iam_r50_voc.py'
import os  # noqa: E402

from mmengine.hub import get_config  # noqa: E402

model = dict(
    backbone=dict(
        get_config('mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py').model.backbone,
        _delete_=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint=os.environ.get('MMIAM_SWIN_T_WEIGHTS') or 'weights/swin_tiny_patch4_window7_224.pth')),
    peak_head=dict(in_channels=768),
    filler=dict(in_channels=(96, 192, 384)))
