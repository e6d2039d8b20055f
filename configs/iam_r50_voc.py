# The paper (ResNet-50, 448 x 448, VOC 2012 train_aug, k = 5) with what was learnt on real images with MobileNetV2
# (docs/experiments.md; not tried on ResNet-50):
# better choice of pseudo ground truth, a decoder that sees the image, Dice beside cross entropy, a wider ConvCRF.
_base_ = './iam-paper_r50_voc.py'
model = dict(
    sampler=dict(alpha=0.4, area_range=(0.01, 0.6), rank_weight=1., class_map_weight=2., min_score=1.1),
    filler=dict(context_channels=32, aux_loss=dict(type='DiceLoss')),
    post_processor=dict(mask_thr=0.4, crf=dict(kernel_size=15), class_evidence='peak', temperature=8., nms_iou=0.5))
