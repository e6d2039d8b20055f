# Table 4: salient objects of ECSSD, found by a network trained on VOC 2012 (iam_r50_voc.py) and not trained further.
# Cues come from a ResNet-50 with ImageNet's 1,000 classes, and filling weights from the backbone trained on VOC.
_base_ = './iam_r50_voc.py'
import os  # noqa: E402

model = dict(
    cue=dict(
        type='ClassifierCue',
        groups='agnostic',
        classifier=dict(
            type='FrozenClassifier',
            backbone=dict(type='ResNet', depth=50, norm_eval=True, style='pytorch'),
            head=dict(type='SoftmaxHead', num_classes=1000, in_channels=2048),
            checkpoint=os.environ.get('MMIAM_R50_WEIGHTS') or 'torchvision://resnet50')),
    post_processor=dict(_delete_=True, type='SaliencyMap', map_key='iams'))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SaliencyDataset',
        data_root=os.environ.get('ECSSD_ROOT') or 'data/ECSSD',
        data_prefix=dict(img='images', mask='ground_truth_mask'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(448, 448), keep_ratio=False),
            dict(type='LoadSaliencyMask'),
            dict(type='PackWeakInputs')
        ]))
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, type='SaliencyMetric')
test_evaluator = val_evaluator
