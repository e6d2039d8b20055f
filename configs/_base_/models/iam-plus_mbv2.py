# Everything that departs from the paper; each setting was chosen by measurement (docs/experiments.md).
_base_ = './iam_mbv2.py'
model = dict(
    backbone=dict(frozen_stages=4),
    sampler=dict(alpha=0.4, area_range=(0.01, 0.6), rank_weight=1., class_map_weight=2., min_score=1.1,
                 trusted_fraction=0.5),
    filler=dict(channels=32, stride=8, num_stacks=1, context_channels=64, aux_loss=dict(type='DiceLoss')),
    post_processor=dict(
        mask_thr=0.4, crf=dict(kernel_size=9, blur=6, weight=0.05), region='cue', class_evidence='peak',
        temperature=8., nms_iou=0.5))
