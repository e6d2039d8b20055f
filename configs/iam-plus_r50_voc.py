# Not the paper: iam_r50_voc.py with what was learned from real images with MobileNetV2 (docs/experiments.md; not tried
# with ResNet-50). Pseudo ground truth is chosen better, first by the class response and later by agreement with the
# filling module's own maps; the decoder sees the image; Dice is added to cross entropy; and the ConvCRF is wider, and
# only the region of its foreground that holds the cue is kept.
_base_ = './iam_r50_voc.py'
model = dict(
    sampler=dict(alpha=0.4, area_range=(0.01, 0.6), rank_weight=1., class_map_weight=2., min_score=1.1,
                 trusted_fraction=0.5),
    filler=dict(context_channels=64, aux_loss=dict(type='DiceLoss')),
    post_processor=dict(
        mask_thr=0.4, crf=dict(kernel_size=9, blur=6, weight=0.05), region='cue', class_evidence='peak',
        temperature=8., nms_iou=0.5))
custom_hooks = [dict(type='TrainingStageHook', fill_begin={{_base_.fill_begin}}, select_begin=26)]
