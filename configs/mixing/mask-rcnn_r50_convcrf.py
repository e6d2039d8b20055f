# mmdet's Mask R-CNN with masks refined by ConvCRF; needs the full mmcv. Its published checkpoints fit as they are:
#   python tools/test.py configs/mixing/mask-rcnn_r50_convcrf.py CHECKPOINT
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmiam'], allow_failed_imports=False)
model = dict(
    type='RefinedDetector',
    base='MaskRCNN',
    refiner=dict(type='ConvCRFPostProc', crf=dict(kernel_size=7)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=-1)))  # probabilities instead of binary masks
