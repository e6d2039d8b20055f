# Another depth of ResNet, with the channels of ResNet-50: only the weights differ.
_base_ = '../iam_r50_voc.py'
import os  # noqa: E402

model = dict(
    backbone=dict(depth=101, init_cfg=dict(
        checkpoint=os.environ.get('MMIAM_R101_WEIGHTS') or 'weights/resnet101_imagenet.pth')))
