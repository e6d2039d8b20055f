# Table 3, methods other than ours (GoogLeNet-GAP, ACoL, SPG): one box per image from a file, on CUB-200-2011:
#     CUB_BOXES=boxes.json CUB_CLASSES=predictions.csv python tools/test.py configs/given/boxes_cub-loc.py
# docs/cues.md describes the format of the files.
_base_ = './_base_/no_network.py'
import os  # noqa: E402

model = dict(
    post_processor=dict(
        type='BoxesWithoutMasks',
        boxes=dict(type='DetectionFileBoxes', classes=None,
                   path=os.environ.get('CUB_BOXES') or 'data/cub_boxes/boxes.json')))
test_dataloader = dict(
    dataset=dict(
        type='CUBDataset',
        data_root=os.environ.get('CUB_ROOT') or 'data/CUB_200_2011',
        split='test',
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackWeakInputs')]))
test_evaluator = dict(type='LocalizationMetric', class_source=os.environ.get('CUB_CLASSES') or 'unknown', map_key=None)
