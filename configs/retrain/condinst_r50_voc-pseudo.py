# mmdet's CondInst, trained on pseudo labels from ImageNet weights; needs the full mmcv.
_base_ = ['mmdet::condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py', './_base_/voc_pseudo.py']
import os  # noqa: E402

model = dict(
    backbone=dict(init_cfg=dict(checkpoint=os.environ.get('MMIAM_R50_WEIGHTS') or 'torchvision://resnet50')),
    bbox_head=dict(num_classes=20))
# masks come as run-length encodings, not polygons
train_pipeline = [
    _base_.train_pipeline[0], dict(type='LoadAnnotations', with_bbox=True, with_mask=True), *_base_.train_pipeline[2:]
]
train_dataloader = dict(dataset=dict(_delete_=True, pipeline=train_pipeline, **_base_.pseudo_data))
val_dataloader = dict(
    dataset=dict(_delete_=True, pipeline=[*_base_.test_pipeline[:2], *_base_.true_steps], **_base_.true_data))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.true_evaluator)
test_evaluator = val_evaluator
# a tenth of the schedule for COCO's 118,000 images: 14 epochs of the 10,582 images of train_aug in batches of 16
train_cfg = dict(max_iters=9000, val_interval=3000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=9000, by_epoch=False, milestones=[6000, 8000], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(interval=3000))
