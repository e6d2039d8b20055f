# Table 4, methods other than ours: their maps of ECSSD as gray images <image id>.png, in one folder per method:
#     SALIENCY_MAPS=maps/DSS/ECSSD python tools/test.py configs/given/maps_saliency_ecssd.py
_base_ = './_base_/no_network.py'
import os  # noqa: E402

model = dict(post_processor=dict(
    type='SavedSaliencyMap', folder=os.environ.get('SALIENCY_MAPS') or 'data/saliency_maps'))
test_dataloader = dict(
    dataset=dict(
        type='SaliencyDataset',
        data_root=os.environ.get('ECSSD_ROOT') or 'data/ECSSD',
        data_prefix=dict(img='images', mask='ground_truth_mask'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadSaliencyMask'), dict(type='PackWeakInputs')]))
test_evaluator = dict(type='SaliencyMetric')
