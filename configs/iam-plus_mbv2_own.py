# Your own tagged images with MobileNetV2, 320 x 320 (docs/own_data.md). The classes are those of OWN_CLASSES
# ('cat,dog'), or else those found in the tags. Without either, the config can still be read, and the data set reports
# what is missing.
_base_ = [
    './_base_/models/iam-plus_mbv2.py', './_base_/datasets/own_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
import os  # noqa: E402

from mmiam.datasets.tag_files import class_names  # noqa: E402

classes = class_names(_base_.img_root, _base_.ann_file, os.environ.get('OWN_CLASSES', ''))
fill_begin = 6
select_begin = 8
max_epochs = 12

model = dict(peak_head=dict(num_classes=max(1, len(classes))), train_cfg=dict(max_instances=24))
if classes:
    train_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
    val_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
    test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=fill_begin)
# the second hook refuses a model whose number of classes differs from that of the data
custom_hooks = [
    dict(type='TrainingStageHook', fill_begin=fill_begin, select_begin=select_begin),
    dict(type='NumClassCheckHook')
]
# as in iam-plus_mbv2_voc.py
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-4),
    paramwise_cfg=dict(
        _delete_=True, custom_keys={'backbone': dict(lr_mult=0.01), 'filler': dict(lr_mult=17.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=0.1, begin=0, end=fill_begin, convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=fill_begin, end=max_epochs, convert_to_iter_based=True),
]
