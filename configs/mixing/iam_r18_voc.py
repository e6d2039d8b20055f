# Another depth of ResNet: the weights and the channels of res-blocks 2 to 5 differ.
_base_ = '../iam_r50_voc.py'
import os  # noqa: E402

model = dict(
    backbone=dict(depth=18, init_cfg=dict(
        checkpoint=os.environ.get('MMIAM_R18_WEIGHTS') or 'weights/resnet18_imagenet.pth')),
    peak_head=dict(in_channels=512),
    filler=dict(in_channels=(64, 128, 256)))
