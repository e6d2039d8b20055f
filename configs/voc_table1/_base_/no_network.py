# Images at original size and no network: the boxes are given. Nothing to train.
_base_ = ['../../_base_/datasets/voc_weak.py', '../../_base_/default_runtime.py']
model = dict(
    type='PrecomputedPredictions',
    data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True),
    test_cfg=dict(baselines=dict()))
train_dataloader = None
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')
    ]))
test_evaluator = [dict(type='VOCInstanceMetric', iou_thrs=(0.25, 0.5, 0.75))]
test_cfg = dict(type='TestLoop')
