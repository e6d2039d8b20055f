_base_ = './iam-s5.py'
row = 'IAM-S5 without ConvCRF'
model = dict(post_processor=dict(crf=None))
