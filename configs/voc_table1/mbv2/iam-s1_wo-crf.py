_base_ = './iam-s1.py'
row = 'IAM-S1 without ConvCRF'
model = dict(post_processor=dict(crf=None))
