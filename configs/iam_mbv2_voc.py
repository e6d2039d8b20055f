# The paper's recipe (iam_r50_voc.py) with MobileNetV2. For a model that two CPU cores can train, see
# iam-plus_mbv2_voc.py.
_base_ = [
    './_base_/models/iam_mbv2.py', './_base_/datasets/voc_weak.py', './_base_/schedules/two_stage_40e.py',
    './_base_/default_runtime.py'
]
