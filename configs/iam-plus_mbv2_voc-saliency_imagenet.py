# Like the saliency experiment of Sec. 4.3: cues come from an ImageNet classifier (1,001 classes, 0 is the background)
# that knows nothing of VOC, and filling weights from the backbone trained on VOC.
_base_ = './iam-plus_mbv2_voc-saliency.py'
import os  # noqa: E402

model = dict(
    test_cfg=dict(baselines=dict(iam_sigmoid=dict(class_evidence='class', temperature=1.))),
    cue=dict(
        type='ClassifierCue',
        groups='agnostic',
        classifier=dict(
            type='FrozenClassifier',
            backbone=dict(type='MobileNetV2', out_indices=(7, ), norm_eval=True),
            head=dict(type='SoftmaxHead', num_classes=1001, in_channels=1280, sub_pixel=8, ignore=(0, )),
            mean=[127.5, 127.5, 127.5],
            std=[127.5, 127.5, 127.5],
            checkpoint=os.environ.get('MMIAM_MBV2_FC_WEIGHTS') or 'weights/mobilenet_v2_imagenet_fc1001.pth')))
