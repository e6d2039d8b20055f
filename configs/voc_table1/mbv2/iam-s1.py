_base_ = '../../iam-plus_mbv2_voc.py'
row = 'IAM-S1'
weights = ('iam-s1', )
model = dict(sampler=dict(num_candidates=1))
