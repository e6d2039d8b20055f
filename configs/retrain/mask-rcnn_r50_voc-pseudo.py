# mmdet's Mask R-CNN, trained on pseudo labels from ImageNet weights; needs the full mmcv.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', './_base_/voc_pseudo.py']
import os  # noqa: E402

model = dict(
    backbone=dict(init_cfg=dict(checkpoint=os.environ.get('MMIAM_R50_WEIGHTS') or 'torchvision://resnet50')),
    roi_head=dict(bbox_head=dict(num_classes=20), mask_head=dict(num_classes=20)))
train_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.train_pipeline, **_base_.pseudo_data))
val_dataloader = dict(
    dataset=dict(_delete_=True, pipeline=[*_base_.test_pipeline[:2], *_base_.true_steps], **_base_.true_data))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.true_evaluator)
test_evaluator = val_evaluator
