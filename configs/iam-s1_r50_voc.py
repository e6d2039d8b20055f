# The paper's Table 1, IAM-S1: only the best-matching proposal.
_base_ = './iam_r50_voc.py'
model = dict(sampler=dict(num_candidates=1))
