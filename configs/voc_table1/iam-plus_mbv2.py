# Table 1 from a checkpoint of iam-plus_mbv2_voc.py with any k: CAM, PRM and IAM from the same peaks in one pass.
_base_ = ['../iam-plus_mbv2_voc.py', './_base_/rows.py']
model = dict(test_cfg=dict(baselines={{_base_.peak_rows}}))
test_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadSegmentProposals', proposal_root={{_base_.proposal_root}}),
        dict(type='Resize', scale={{_base_.scale}}, keep_ratio=False),
        dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')
    ]))
test_evaluator = {{_base_.peak_metrics}}
