# Not the paper: EfficientNet-Lite2 with frozen ImageNet weights from a pip package, Gaussians at the peaks in place of
# Peak Response Maps, and our other additions to the method (docs/experiments.md).
model = dict(
    type='IAMNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[127., 127., 127.], std=[128., 128., 128.], bgr_to_rgb=True),
    backbone=dict(type='EfficientNetLite', arch='lite2', frozen_stages=7),
    peak_head=dict(
        type='PeakStimulationHead', num_classes=20, in_channels=1280, sub_pixel=8, class_thr=-2., peak_thr=0.,
        relative_peak_thr=0.5, keep_strongest=True),
    cue=dict(type='PeakGaussianCue'),
    sampler=dict(
        type='ProposalPseudoGTSampler', num_candidates=5, alpha=0.4, area_range=(0.01, 0.6), rank_weight=1.,
        class_map_weight=2., min_score=0.6, trusted_fraction=0.5),
    filler=dict(
        type='InstanceExtentFiller', in_channels=(24, 48, 120), channels=32, stride=8, num_stacks=1,
        context_channels=64, aux_loss=dict(type='DiceLoss')),
    post_processor=dict(
        type='ConvCRFPostProc', mask_thr=0.4, crf=dict(kernel_size=9, blur=6, weight=0.05), region='cue',
        class_evidence='peak', temperature=8., nms_iou=0.5),
    train_cfg=dict(max_instances=24, prompt_ratio=0.3),
    test_cfg=dict(refill=0.4))
