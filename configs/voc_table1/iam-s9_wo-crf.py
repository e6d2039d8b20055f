_base_ = './iam-s9.py'
row = 'IAM-S9 without ConvCRF'
model = dict(post_processor=dict(crf=None))
