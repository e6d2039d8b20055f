# The paper's Table 1, IAM-S9: one of nine candidates is drawn each time.
_base_ = './iam_r50_voc.py'
model = dict(sampler=dict(num_candidates=9))
