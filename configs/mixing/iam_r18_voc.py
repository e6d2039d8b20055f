# Another depth of ResNet: weights, and the channels of res-blocks 2 to 5.
_base_ = '../iam_r50_voc.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='{{$MMIAM_R18_WEIGHTS:weights/resnet18_imagenet.pth}}')),
    peak_head=dict(in_channels=512),
    filler=dict(in_channels=(64, 128, 256)))
