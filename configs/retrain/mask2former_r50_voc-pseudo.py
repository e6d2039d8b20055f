# mmdet's Mask2Former, trained on pseudo labels from ImageNet weights; works with mmcv-lite, but faster with full mmcv.
_base_ = ['mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', './_base_/voc_pseudo.py']
import os  # noqa: E402

num_things_classes = 20
num_classes = 20
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=os.environ.get('MMIAM_R50_WEIGHTS') or 'torchvision://resnet50')),
    panoptic_head=dict(num_things_classes=num_classes, loss_cls=dict(class_weight=[1.0] * num_classes + [0.1])),
    panoptic_fusion_head=dict(num_things_classes=num_classes))
train_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.train_pipeline, **_base_.pseudo_data))
val_dataloader = dict(
    dataset=dict(_delete_=True, pipeline=[*_base_.test_pipeline[:2], *_base_.true_steps], **_base_.true_data))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.true_evaluator)
test_evaluator = val_evaluator
# 50 epochs as in mmdet's config, of the 10,582 images of train_aug in batches of 16
train_cfg = dict(max_iters=33000, val_interval=3000, dynamic_intervals=None)
param_scheduler = dict(end=33000, milestones=[29300, 31800])
default_hooks = dict(checkpoint=dict(interval=3000))
