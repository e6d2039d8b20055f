# The classifier with soft proposals, ResNet-50. Only the highest peak of a class is propagated to the image, because
# boxes come from the response map, which is the same for all peaks of a class.
_base_ = './classifier_r50.py'
model = dict(peak_head=dict(type='SoftProposalHead', relative_peak_thr=1., keep_strongest=True))
