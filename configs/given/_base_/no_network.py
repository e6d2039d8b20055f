# Images at original size and no network: another method's files are judged. Nothing to train, no checkpoint.
_base_ = '../../_base_/default_runtime.py'
model = dict(type='GivenPredictions', data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True))
test_cfg = dict(type='TestLoop')
