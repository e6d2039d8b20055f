# MELM (Wan et al., CVPR 2018): its detections come from a file (docs/table1.md); they went through its own NMS.
boxes = dict(
    type='DetectionFileBoxes',
    path='{{$MELM_DETECTIONS:data/melm/detections.json}}',
    classes=('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
             'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'))
nms_iou = None
weights = ()
