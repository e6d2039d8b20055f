# Localization of birds on CUB-200-2011 by a model trained on VOC (Sec. 4.3, Table 3):
#     CUB_CLASSES=predictions.csv python tools/test.py configs/iam_r50_cub-loc.py work_dirs/iam_r50_voc/epoch_40.pth
# The instance of an image is that of its highest peak, whatever its class. The class comes from a CSV or JSON file with
# another network's predictions. Without CUB_CLASSES only the boxes are evaluated (gt_known_err). A classifier can also
# predict the class: post_processor.classifier=dict(type='FrozenClassifier', ...) and CUB_CLASSES=instance.
_base_ = './iam_r50_voc.py'
import os  # noqa: E402

data_root = os.environ.get('CUB_ROOT') or 'data/CUB_200_2011'
class_source = os.environ.get('CUB_CLASSES') or 'unknown'

model = dict(
    peak_head=dict(class_thr=-1e9, keep_strongest=True, max_peaks=1),
    post_processor=dict(_delete_=True, type='ExtentBox'),
    test_cfg=dict(
        baselines=dict(
            cam=dict(type='ExtentBox', map_key='cams'),
            prm=dict(type='ExtentBox', map_key='prms'),
            largest=dict(type='ExtentBox', region='largest'))))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CUBDataset',
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
            dict(type='PackWeakInputs')
        ]))
test_evaluator = [
    dict(type='LocalizationMetric', prefix='CAM', pred_field='pred_instances_cam', class_source=class_source),
    dict(type='LocalizationMetric', prefix='PRM', pred_field='pred_instances_prm', class_source=class_source),
    dict(type='LocalizationMetric', prefix='IAM', class_source=class_source),
    dict(
        type='LocalizationMetric',
        prefix='IAM_largest',
        pred_field='pred_instances_largest',
        class_source=class_source),
]
