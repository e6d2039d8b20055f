"""Every saliency config by ``tools/test.py``, on miniature copies in the published layouts and a tiny model."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

ROOT = Path(__file__).parents[2]
FIGURES = ('F_mean', 'F_adaptive', 'F_max', 'MAE')
TINY = {
    'model.peak_head.num_classes': 3, 'model.peak_head.class_thr': -50., 'model.peak_head.peak_thr': -50.,
    'model.peak_head.sub_pixel': 1, 'model.filler.channels': 2, 'model.filler.hidden_channels': 4,
    'model.filler.num_steps': 2, 'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}
RESNET = {'model.backbone.depth': 18, 'model.backbone.base_channels': 8, 'model.backbone.init_cfg': None,
          'model.peak_head.in_channels': 64, 'model.filler.in_channels': (8, 16, 32),
          'test_dataloader.dataset.pipeline.1.scale': (64, 64),
          'model.cue.classifier': dict(backbone=dict(type='ResNet', depth=18, base_channels=4),
                                       head=dict(type='SoftmaxHead', num_classes=7, in_channels=32), checkpoint=None,
                                       type='FrozenClassifier')}
MOBILE = {'model.backbone.init_cfg': None, 'test_dataloader.dataset.pipeline.1.scale': (64, 64)}
LAYOUTS = {'ecssd': ('images/0001.jpg', 'ground_truth_mask/0001.png'),
           'msra-b': ('Imgs/0_0_272.jpg', 'Imgs/0_0_272.png'),
           'thur': ('Giraffe/Src/7.jpg', 'Giraffe/Src/7.png')}


def run(stem, options, tmp_path):
    """A config with some overrides, dumped with a random checkpoint, through the tool; the metrics it wrote."""
    cfg = Config.fromfile(ROOT / f'configs/{stem}.py')
    cfg.merge_from_dict({**TINY, **options})
    cfg.dump(tmp_path / 'tiny.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    bias, = [parameter for parameter in model.filler.decoder.parameters() if parameter.shape == (1, )]
    torch.nn.init.constant_(bias, 2.)  # so that not all logits are negative
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'tiny.pth')
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools/test.py'), 'tiny.py', 'tiny.pth', '--work-dir', 'work'], cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=200)
    found = [json.loads(path.read_text()) for path in (tmp_path / 'work').rglob('2*.json')]
    return done, found


@pytest.mark.parametrize('name', LAYOUTS)
def test_data_sets(name, tmp_path):
    image, mask = (tmp_path / 'data' / path for path in LAYOUTS[name])
    rng = np.random.default_rng(0)
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(image)
    Image.fromarray(np.pad(np.full((10, 20), 255, np.uint8), 10)).save(mask)
    maps = tmp_path / 'maps'
    options = {**RESNET, 'test_dataloader.dataset.data_root': str(tmp_path / 'data'),
               'test_evaluator.save_dir': str(maps)}
    done, found = run(f'iam_r50_saliency_{name}', options, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    figures, = found
    assert set(FIGURES) <= set(figures) and all(0 <= figures[key] <= 1 for key in FIGURES)
    written, = maps.rglob('*.png')
    with Image.open(written) as picture:
        values = np.array(picture)
    assert values.shape == (30, 40) and (values.min(), values.max()) == (0, 255)
    assert written.relative_to(maps).as_posix() == {'thur': 'Giraffe/7.png'}.get(name, mask.name)


def test_missing_data_is_named(tmp_path):
    done, _ = run('iam_r50_saliency_ecssd', {**RESNET, 'test_dataloader.dataset.data_root': 'nowhere/ECSSD'}, tmp_path)
    assert done.returncode != 0 and "'nowhere/ECSSD' does not exist" in done.stderr


def test_voc_with_the_rows_of_all_maps(mini_voc, tmp_path):
    options = {**MOBILE, 'test_dataloader.dataset.data_root': str(mini_voc()),
               'test_dataloader.dataset.metainfo': dict(classes=('cat', 'dog', 'person'))}
    done, found = run('iam-plus_mbv2_voc-saliency', options, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    figures, = found
    rows = ('CAM', 'PRM', 'IAM', 'IAM-sigmoid')
    assert {f'{row}/{key}' for row in rows for key in FIGURES} <= set(figures)
    assert len({figures[f'{row}/MAE'] for row in rows}) == 4  # four different maps


def test_voc_with_cues_of_an_imagenet_classifier(mini_voc, tmp_path):
    options = {**MOBILE, 'test_dataloader.dataset.data_root': str(mini_voc()),
               'test_dataloader.dataset.metainfo': dict(classes=('cat', 'dog', 'person')),
               'model.cue.classifier.checkpoint': None, 'model.cue.classifier.backbone.widen_factor': 0.1}
    done, found = run('iam-plus_mbv2_voc-saliency_imagenet', options, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    figures, = found
    assert {f'{row}/{key}' for row in ('CAM', 'PRM', 'IAM') for key in FIGURES} <= set(figures)
