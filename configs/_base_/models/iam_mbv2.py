# iam_r50.py with MobileNetV2 in place of ResNet-50; otherwise the paper's recipe is unchanged.
_base_ = './iam_r50.py'
import os  # noqa: E402

model = dict(
    # the weights come from the public 8-bit MobileNetV2, which takes RGB scaled to [-1, 1]
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint=os.environ.get('MMIAM_MBV2_WEIGHTS') or 'weights/mobilenet_v2_imagenet.pth')),
    # the thresholds of the PRM reference (0 and 30) are raw logits of its ResNet-50; those of this network are lower
    peak_head=dict(in_channels=1280, class_thr=-2., peak_thr=0., relative_peak_thr=0.5, keep_strongest=True),
    filler=dict(in_channels=(24, 32, 96)))
