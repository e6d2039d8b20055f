# Sec. 3.3 of the paper; docs/design.md lists what the paper does not state and where this config departs from it.
_base_ = []  # must come before the import, or mmengine takes the file for a lazy config
import os  # noqa: E402

model = dict(
    type='IAMNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained', checkpoint=os.environ.get('MMIAM_R50_WEIGHTS') or 'torchvision://resnet50')),
    peak_head=dict(type='PeakStimulationHead', num_classes=20, in_channels=2048, sub_pixel=8, peak_thr=30.),
    sampler=dict(type='ProposalPseudoGTSampler', num_candidates=5, alpha=0.8, overlap_thr=0.2),
    filler=dict(type='InstanceExtentFiller', in_channels=(256, 512, 1024), in_indices=(0, 1, 2), channels=16),
    post_processor=dict(type='ConvCRFPostProc'))
