# Unseen categories (Sec. 4.3): cats and horses, of which the network of iam-plus_mbv2_voc-seen.py has seen no image.
# Cues come from an ImageNet classifier, and filling weights from the trained network. CAM, PRM and IAM are evaluated
# from the same peaks.
_base_ = './iam-plus_mbv2_voc_compare.py'
import os  # noqa: E402

unseen = ('cat', 'horse')
model = dict(
    cue=dict(
        type='ClassifierCue',
        # ImageNet: tabby, tiger cat, Persian, Siamese, Egyptian; sorrel (mmiam/models/cues/class_groups.py)
        groups=dict(classes=unseen, offset=1),
        classifier=dict(
            type='FrozenClassifier',
            backbone=dict(type='MobileNetV2', out_indices=(7, ), norm_eval=True),
            head=dict(type='SoftmaxHead', num_classes=1001, in_channels=1280, sub_pixel=8, ignore=(0, )),
            mean=[127.5, 127.5, 127.5],
            std=[127.5, 127.5, 127.5],
            checkpoint=os.environ.get('MMIAM_MBV2_FC_WEIGHTS') or 'weights/mobilenet_v2_imagenet_fc1001.pth')))
test_dataloader = dict(
    dataset=dict(metainfo=dict(classes=unseen), filter_cfg=dict(keep_classes=unseen)))
test_evaluator = [
    dict(type='VOCInstanceMetric', prefix='CAM', pred_field='pred_instances_cam'),
    dict(type='VOCInstanceMetric', prefix='PRM', pred_field='pred_instances_prm'),
    dict(type='VOCInstanceMetric', prefix='IAM'),
]
