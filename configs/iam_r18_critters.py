# The default for the embedded data set of procedural images: both stages from scratch in minutes on two CPU cores.
_base_ = [
    './_base_/models/iam_r50.py', './_base_/datasets/critters_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
fill_begin = 18
max_epochs = 30
num_classes = 6

model = dict(
    # the last stride is 8: heads are about 15 pixels wide, and with stride 16 peaks miss them
    backbone=dict(depth=18, base_channels=32, strides=(1, 2, 1, 1), norm_eval=False, init_cfg=None),
    # class scores are means over many weak peaks here, and below zero for most classes that are present
    peak_head=dict(num_classes=num_classes, in_channels=256, sub_pixel=1, win_size=5, class_thr=-2., peak_thr=0.,
                   relative_peak_thr=0.5),
    # Chosen with the masks of training images (docs/experiments.md). No animal covers less than a thirtieth or more
    # than three tenths of the image. The response covers the head alone, so it takes the generator's ranking to tell
    # the animal from its head and from the scenery.
    sampler=dict(num_candidates=3, alpha=2., area_range=(0.03, 0.3), rank_weight=2.),
    train_cfg=dict(max_instances=24),
    # the mean of disagreeing candidates stays below one half; cells of 4 x 4 pixels are coarse for images of 128 pixels
    post_processor=dict(mask_thr=0.35, crf=dict(blur=2, kernel_size=15)),
    # the paper's grid, a quarter of the side, but without a stack at full size, where most of the work would be
    filler=dict(in_channels=(32, 64, 128), num_stacks=1))

train_cfg = dict(max_epochs=max_epochs, val_interval=fill_begin)
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin)]
# AdamW, because in minutes a backbone from scratch does not get far with SGD; the paper fine-tunes a trained one
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys={'filler': dict(lr_mult=100.)}))  # 5e-3
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=0.05, begin=0, end=fill_begin, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=fill_begin, end=max_epochs, convert_to_iter_based=True),
]
