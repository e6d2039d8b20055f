_base_ = '../../iam-plus_mbv2_voc.py'
row = 'IAM-S9'
weights = ('iam-s9', )
model = dict(sampler=dict(num_candidates=9))
