# Localisation on real images at hand: the images of VOC val with a single object, against its box; CAM, PRM and IAM of
# the highest peak by the same rule: the largest connected region of the map at or above its mean. The paper takes all
# such pixels (iam-paper_mbv2_voc-loc.py); the largest region was better for IAM on training images
# (docs/experiments.md), the other maps lose or gain next to nothing.
_base_ = './iam_mbv2_voc.py'
model = dict(
    peak_head=dict(class_thr=-1e9, keep_strongest=True, max_peaks=1),
    post_processor=dict(_delete_=True, type='ExtentBox', region='largest'),
    test_cfg=dict(
        baselines=dict(
            cam=dict(type='ExtentBox', source='cams', region='largest'),
            prm=dict(type='ExtentBox', source='prms', region='largest'))))
test_dataloader = dict(
    dataset=dict(
        type='VOCSingleObjectDataset',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
            dict(type='PackWeakInputs')
        ]))
test_evaluator = [
    dict(type='LocalizationMetric', prefix='CAM', pred_field='pred_instances_cam'),
    dict(type='LocalizationMetric', prefix='PRM', pred_field='pred_instances_prm'),
    dict(type='LocalizationMetric', prefix='IAM'),
]
