# Evaluates CAM, PRM (proposal retrieval) and IAM from the same peaks, in one run of tools/test.py.
_base_ = './iam_r18_critters.py'
model = dict(
    test_cfg=dict(
        baselines=dict(
            cam=dict(type='ClassMapThreshold'),
            prm=dict(type='ProposalRetrieval'))))
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}),
            dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
            dict(type='LoadVOCInstances'),
            dict(type='PackWeakInputs')
        ]))
test_evaluator = [
    dict(type='ImageLabelMetric'),
    dict(type='VOCInstanceMetric', prefix='CAM', pred_field='pred_instances_cam'),
    dict(type='VOCInstanceMetric', prefix='PRM', pred_field='pred_instances_prm'),
    dict(type='VOCInstanceMetric', prefix='IAM'),
]
