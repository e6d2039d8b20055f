# iam-plus_r50_voc.py with k = 9.
_base_ = './iam-plus_r50_voc.py'
model = dict(sampler=dict(num_candidates=9))
