# The paper to the letter: ResNet-50, 448 x 448, VOC 2012 train_aug, k = 5, nothing added.
_base_ = [
    './_base_/models/iam_r50.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
