"""Localization by ``tools/test.py`` on miniature data sets in the published layouts."""

from mmdet.registry import MODELS
from mmengine.config import Config
from support import ROOT, build_mini_cub

SMALL = {'model.backbone.init_cfg': None, 'model.filler.hidden_channels': 8, 'model.filler.num_steps': 2,
         'test_dataloader.dataset.pipeline.1.scale': (64, 64)}
R50 = {**SMALL, 'model.backbone.depth': 18, 'model.backbone.base_channels': 8, 'model.peak_head.in_channels': 64,
       'model.filler.in_channels': (8, 16, 32)}
MBV2 = {**SMALL, 'model.backbone.widen_factor': 0.1, 'model.filler.in_channels': (8, 8, 16)}
ROWS = ('CAM', 'PRM', 'IAM', 'IAM_largest')


def test_cub(evaluate, tmp_path):
    """Class errors follow from the file alone: one of the two test images has the wrong class in it."""
    root = build_mini_cub(tmp_path / 'CUB_200_2011')
    (tmp_path / 'classes.csv').write_text('image,class\n1,Black_footed_Albatross\n3,Black_footed_Albatross\n')
    metrics, log = evaluate('iam_r50_cub-loc', R50, CUB_ROOT=root, CUB_CLASSES='classes.csv')
    for row in ROWS:
        assert metrics[f'{row}/cls_err'] == 50 and 0 <= metrics[f'{row}/gt_known_err'] <= metrics[f'{row}/loc_err']
        assert 0 <= metrics[f'{row}/wsol_gt_known_err'] <= metrics[f'{row}/wsol_loc_err'] <= 100
    assert '2 images, 0 without any box' in log


def test_cub_with_a_classifier(evaluate, tmp_path):
    """The class is that of a second network, of each box alike; this one takes both birds for the same."""
    root = build_mini_cub(tmp_path / 'CUB_200_2011')
    classifier = dict(type='FrozenClassifier', backbone=dict(type='ResNet', depth=18, base_channels=4),
                      head=dict(type='SoftmaxHead', num_classes=2, in_channels=32))
    metrics, _ = evaluate('iam_r50_cub-loc', {**R50, 'model.post_processor.classifier': classifier}, CUB_ROOT=root,
                          CUB_CLASSES='instance')
    assert (metrics['CAM/cls_err'], metrics['IAM/cls_err']) == (100, 50)  # CAM's label is one of VOC's


def test_voc(evaluate, mini_voc):
    """CAM, PRM and IAM by one rule, the largest region's, and by the paper's."""
    stem = 'iam-plus_mbv2_voc-loc'
    model = Config.fromfile(ROOT / f'configs/{stem}.py').model
    assert model.post_processor.region == 'largest'
    for key, rule in model.test_cfg.baselines.items():
        assert MODELS.build(rule).region == ('all' if key.endswith('_all') else 'largest')
    metrics, log = evaluate(stem, MBV2, VOC_ROOT=mini_voc())
    rows = [row + rule for row in ROWS[:3] for rule in ('', '_all')]
    assert all({f'{row}/loc_err', f'{row}/wsol_thr'} <= set(metrics) for row in rows)
    assert 'val.txt: 1 of 2 images have a single object' in log
