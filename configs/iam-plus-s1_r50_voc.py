# iam-plus_r50_voc.py with k = 1.
_base_ = './iam-plus_r50_voc.py'
model = dict(sampler=dict(num_candidates=1))
