_base_ = '../../iam-plus_mbv2_voc.py'
row = 'IAM-S5'
weights = ('iam-s5', )
model = dict(sampler=dict(num_candidates=5))
