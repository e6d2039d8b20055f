"""Localization by ``tools/test.py`` as a user runs it, on miniature data sets in the published layouts."""
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests/test_datasets'))
from test_cub import build_mini_cub  # noqa: E402

R50 = ('model.backbone.depth=18', 'model.backbone.base_channels=8', 'model.peak_head.in_channels=64',
       'model.filler.in_channels=(8,16,32)')
MBV2 = ('model.backbone.widen_factor=0.1', 'model.filler.in_channels=(8,8,16)')
SMALL = ('model.filler.hidden_channels=8', 'model.filler.num_steps=2', 'test_dataloader.num_workers=0',
         'test_dataloader.persistent_workers=False', 'test_dataloader.dataset.pipeline.1.scale=(64,64)')


@pytest.fixture
def run(tmp_path):
    """``run(config, options, **environment)`` -> finished process, figures; a checkpoint with random weights."""

    def run(config, options, **environment):
        path = ROOT / 'configs' / config
        cfg = Config.fromfile(path)
        cfg.merge_from_dict({key: ast.literal_eval(value) for key, value in
                             (option.split('=') for option in options if option.startswith('model.'))})
        init_default_scope('mmdet')
        torch.manual_seed(0)
        state = MODELS.build(cfg.model).state_dict()
        for name, value in state.items():  # a second network always says its first class
            if name.startswith('post_processor.classifier.head.classifier.'):
                value.zero_()
                value[0] = float(name.endswith('bias'))
        torch.save(dict(state_dict=state, meta={}), tmp_path / 'tiny.pth')
        done = subprocess.run(
            [sys.executable, str(ROOT / 'tools/test.py'), str(path), 'tiny.pth', '--work-dir', 'work', '--cfg-options',
             *options], env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', **environment), cwd=tmp_path,
            capture_output=True, text=True, timeout=200)
        written = sorted((tmp_path / 'work').rglob('2*.json'))
        return done, json.loads(written[-1].read_text()) if done.returncode == 0 else None

    return run


ROWS = ('CAM', 'PRM', 'IAM', 'IAM_largest')


def test_cub(run, tmp_path):
    """Class errors follow from the file alone: one of the two test images has the wrong class in it."""
    root = build_mini_cub(tmp_path / 'CUB_200_2011')
    (tmp_path / 'classes.csv').write_text('image,class\n1,Black_footed_Albatross\n3,Black_footed_Albatross\n')
    done, figures = run('iam_r50_cub-loc.py', R50 + SMALL, CUB_ROOT=str(root), CUB_CLASSES='classes.csv')
    assert done.returncode == 0, done.stderr[-3000:]
    for row in ROWS:
        assert figures[f'{row}/cls_err'] == 50 and 0 <= figures[f'{row}/gt_known_err'] <= figures[f'{row}/loc_err']
        assert 0 <= figures[f'{row}/wsol_gt_known_err'] <= figures[f'{row}/wsol_loc_err'] <= 100
    assert '2 images, 0 without any box' in done.stderr + done.stdout


def test_cub_with_a_classifier(run, tmp_path):
    """The class is that of a second network, of each box alike; this one takes both birds for the same."""
    root = build_mini_cub(tmp_path / 'CUB_200_2011')
    key = 'model.post_processor.classifier'
    classifier = (f'{key}.type="FrozenClassifier"', f'{key}.backbone.type="ResNet"', f'{key}.backbone.depth=18',
                  f'{key}.backbone.base_channels=4', f'{key}.head.type="SoftmaxHead"', f'{key}.head.num_classes=2',
                  f'{key}.head.in_channels=32')
    done, figures = run('iam_r50_cub-loc.py', (*R50, *classifier, *SMALL), CUB_ROOT=str(root), CUB_CLASSES='instance')
    assert done.returncode == 0, done.stderr[-3000:]
    assert (figures['CAM/cls_err'], figures['IAM/cls_err']) == (100, 50)  # CAM's label is one of VOC's


def test_cub_names_what_is_wrong(run, tmp_path):
    root = build_mini_cub(tmp_path / 'CUB_200_2011')
    done, _ = run('iam_r50_cub-loc.py', R50 + SMALL, CUB_ROOT=str(root), CUB_CLASSES='gone.json')
    assert done.returncode != 0 and 'no file of class predictions gone.json' in done.stderr
    (root / 'bounding_boxes.txt').unlink()
    done, _ = run('iam_r50_cub-loc.py', R50 + SMALL, CUB_ROOT=str(root))
    assert done.returncode != 0 and 'bounding_boxes.txt does not exist' in done.stderr


def test_voc(run, mini_voc):
    """CAM, PRM and IAM by one rule, the largest region's, and by the paper's."""
    name = 'iam-plus_mbv2_voc-loc.py'
    model = Config.fromfile(ROOT / 'configs' / name).model
    assert model.post_processor.region == 'largest'
    for key, rule in model.test_cfg.baselines.items():
        assert MODELS.build(rule).region == ('all' if key.endswith('_all') else 'largest')
    done, figures = run(name, MBV2 + SMALL, VOC_ROOT=str(mini_voc()))
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [row + rule for row in ROWS[:3] for rule in ('', '_all')]
    assert all({f'{row}/loc_err', f'{row}/wsol_thr'} <= set(figures) for row in rows)
    assert 'val.txt: 1 of 2 images have a single object' in done.stderr + done.stdout
