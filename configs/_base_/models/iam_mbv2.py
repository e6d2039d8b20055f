_base_ = './iam_r50.py'
model = dict(
    # the public 8-bit MobileNetV2 that the weights come from takes RGB scaled to [-1, 1]
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),
        frozen_stages=4,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='{{$MMIAM_MBV2_WEIGHTS:weights/mobilenet_v2_imagenet.pth}}')),
    peak_head=dict(in_channels=1280, class_thr=-2., peak_thr=0., relative_peak_thr=0.5, keep_strongest=True),
    # what follows departs from the paper; each was chosen by what it gave (docs/experiments.md)
    sampler=dict(
        alpha=0.4, area_range=(0.01, 0.6), rank_weight=1., class_map_weight=2., min_score=1.1, keep_ratio=0.5),
    filler=dict(
        in_channels=(24, 32, 96), channels=32, num_stacks=1, stride=4, context_channels=64,
        aux_loss=dict(type='DiceLoss')),
    post_processor=dict(
        mask_thr=0.4, crf=dict(kernel_size=9, blur=6, weight=0.05), region='cue', class_evidence='peak',
        temperature=8., nms_iou=0.5))
