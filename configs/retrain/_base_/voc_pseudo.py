# What the configs of this folder share: they train on exported pseudo labels and are evaluated on VOC's own masks.
#   VOC_ROOT       folder of VOC 2012
#   PSEUDO_LABELS  output of tools/export_pseudo_labels.py
_base_ = []
import os  # noqa: E402

from mmiam.datasets.voc_palette import VOC_CLASSES, VOC_PALETTE  # noqa: E402

voc_root = os.environ.get('VOC_ROOT') or 'data/VOCdevkit/VOC2012'
pseudo_data = dict(
    type='CocoDataset',
    data_root='',
    ann_file=os.environ.get('PSEUDO_LABELS') or 'data/pseudo/voc2012_train.json',
    data_prefix=dict(img=voc_root + '/JPEGImages/'),
    metainfo=dict(classes=VOC_CLASSES, palette=VOC_PALETTE),
    filter_cfg=dict(filter_empty_gt=True, min_size=32))
true_data = dict(
    type='VOCInstanceDataset', data_root=voc_root, ann_file='ImageSets/Segmentation/val.txt', test_mode=True)
true_evaluator = dict(type='VOCInstanceMetric', iou_thrs=(0.25, 0.5, 0.75))
true_steps = [dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]  # in place of LoadAnnotations, PackDetInputs

custom_imports = dict(imports=['mmiam'], allow_failed_imports=False)
custom_hooks = [dict(type='SafeCheckpointHook')]
