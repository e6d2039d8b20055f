_base_ = '../iam_r50_voc.py'
row = 'IAM-S5'
weights = ('iam-s5', )
model = dict(sampler=dict(num_candidates=5))
