# Boxes of the ground truth (tight boxes of the evaluated masks); all of them are correct, so none is suppressed.
boxes = dict(type='GroundTruthBoxes')
nms_iou = None
weights = ()
