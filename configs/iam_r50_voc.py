# The paper: ResNet-50, 448 x 448, VOC 2012 train_aug, k = 5 (IAM-S5), without options of ours. docs/design.md lists
# what the paper leaves open and where the code departs from it nevertheless. Our additions are in iam-plus_r50_voc.py.
_base_ = [
    './_base_/models/iam_r50.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
