# iam_mbv2_voc-loc.py with the paper's box: the extent of all pixels at or above the map's mean.
_base_ = './iam_mbv2_voc-loc.py'
model = dict(
    post_processor=dict(region='all'),
    test_cfg=dict(baselines=dict(cam=dict(region='all'), prm=dict(region='all'))))
