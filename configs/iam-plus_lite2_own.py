# Your own tagged images with EfficientNet-Lite2, 320 x 320: the model that `mmiam label` trains on stored features
# (docs/own_data.md); tools/train.py can train it too. Classes are set as in iam-plus_mbv2_own.py.
_base_ = [
    './_base_/models/iam-plus_lite2.py', './_base_/datasets/own_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py', './_base_/tiles.py'
]
import os  # noqa: E402

from mmiam.datasets.tag_files import class_names  # noqa: E402

classes = class_names(_base_.img_root, _base_.ann_file, os.environ.get('OWN_CLASSES', ''))
fill_begin = 6
max_epochs = 12

model = dict(peak_head=dict(num_classes=max(1, len(classes))))
if classes:
    train_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
    val_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
    test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=fill_begin)
custom_hooks = [dict(type='TrainingStageHook', fill_begin=fill_begin, select_begin=8), dict(type='NumClassCheckHook')]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-4), paramwise_cfg=dict(_delete_=True))
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=max_epochs, convert_to_iter_based=True)]
