# Images at original size and no network: this evaluates another method's files, without training or checkpoint.
_base_ = '../../_base_/default_runtime.py'
model = dict(type='PrecomputedPredictions', data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True))
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False))
