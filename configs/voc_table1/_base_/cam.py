# CAM (Zhou et al., CVPR 2016): boxes of the regions above 20 % of the maximum of a class response map. The maps are
# those of the peak-stimulated classifier that PRM and IAM start from, as in the paper's Fig. 2.
boxes = dict(type='ClassMapBoxes', rule='max', ratio=0.2)
nms_iou = 0.3
weights = ('prm', 'iam-s5')
