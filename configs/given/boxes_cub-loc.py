# Table 3, methods other than ours (GoogLeNet-GAP, ACoL, SPG): one box an image from a file, on CUB-200-2011:
#     CUB_BOXES=boxes.json CUB_CLASSES=predictions.csv python tools/test.py configs/given/boxes_cub-loc.py
# The form of the files: docs/cues.md.
_base_ = './_base_/no_network.py'
model = dict(
    post_processor=dict(
        type='BoxesWithoutMasks',
        boxes=dict(type='DetectionFileBoxes', path='{{$CUB_BOXES:data/cub_boxes/boxes.json}}', classes=None)))
test_dataloader = dict(
    dataset=dict(
        type='CUBDataset',
        data_root='{{$CUB_ROOT:data/CUB_200_2011}}',
        split='test',
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackWeakInputs')]))
test_evaluator = dict(type='LocalizationMetric', class_source='{{$CUB_CLASSES:unknown}}', map_key=None)
