# Another depth of ResNet with the channels of ResNet-50: only the weights are others.
_base_ = '../iam_r50_voc.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='{{$MMIAM_R101_WEIGHTS:weights/resnet101_imagenet.pth}}')))
