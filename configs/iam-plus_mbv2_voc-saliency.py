# Saliency on VOC val, evaluated against the union of the instance masks: IAM, PRM and CAM of the same peaks as
# saliency maps.
_base_ = './iam-plus_mbv2_voc.py'
model = dict(
    post_processor=dict(_delete_=True, type='SaliencyMap', map_key='iams'),
    test_cfg=dict(
        baselines=dict(
            cam=dict(type='SaliencyMap', map_key='cams', field='pred_saliency_cam'),
            prm=dict(type='SaliencyMap', map_key='prms', field='pred_saliency_prm'),
            # not in the paper: maps flat inside objects, and doubtful instances less salient (docs/saliency.md)
            iam_sigmoid=dict(
                type='SaliencyMap', activation='sigmoid', by_score=True, class_evidence='peak', temperature=8.,
                field='pred_saliency_sigmoid'))))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
    dict(type='LoadVOCInstances'),
    dict(type='InstancesToSaliencyMask'),
    dict(type='PackWeakInputs')
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# void pixels, which are mostly the borders of objects, are neither object nor background
test_evaluator = [
    dict(type='SaliencyMetric', prefix='CAM', pred_field='pred_saliency_cam', void='ignore'),
    dict(type='SaliencyMetric', prefix='PRM', pred_field='pred_saliency_prm', void='ignore'),
    dict(type='SaliencyMetric', prefix='IAM', void='ignore'),
    dict(type='SaliencyMetric', prefix='IAM-sigmoid', pred_field='pred_saliency_sigmoid', void='ignore'),
]
