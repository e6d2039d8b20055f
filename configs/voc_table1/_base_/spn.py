# SPN (Zhu et al., ICCV 2017): boxes of the regions above the mean of a class response map, the rule of the public code
# (github.com/yeezhu/SPN.pytorch). The classifier is one with soft proposals, trained by any spn_*.py.
boxes = dict(type='ClassMapBoxes', rule='mean', ratio=1.)
nms_iou = 0.3
weights = ('spn', )
