"""mmdet's own methods on exported pseudo labels: the configs build, and train and evaluate on tiny data."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mmiam.compat import is_light
from mmiam.datasets.voc_palette import VOC_CLASSES

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / 'configs/retrain'
FILES = sorted(FOLDER.glob('*.py'))
LITE = is_light()
NEEDS = 'mmcv-lite has no RoIAlign and no NMS; install the full mmcv'


@pytest.fixture
def pseudo(mini_voc, tmp_path, monkeypatch, call_tool):
    """VOC_ROOT and PSEUDO_LABELS of a miniature tree, as if a model had predicted its training masks."""
    root = mini_voc()
    call_tool('tools/dataset_converters/voc2coco_instances.py', root, tmp_path / 'pseudo.json', '--split', 'train')
    monkeypatch.setenv('VOC_ROOT', str(root))
    monkeypatch.setenv('PSEUDO_LABELS', str(tmp_path / 'pseudo.json'))
    return root


def heads(model):
    """num_classes of every part that has it, except the class-agnostic RPN."""
    return {name: part.num_classes for name, part in model.named_modules()
            if isinstance(getattr(part, 'num_classes', None), int) and not name.endswith('rpn_head')}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_config_builds(path, pseudo):
    cfg = Config.fromfile(path)
    assert cfg.load_from is None  # a detector trained on COCO has seen masks of these classes
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    assert heads(model) and set(heads(model).values()) == {20}
    cfg.train_dataloader.dataset.filter_cfg.min_size = 1
    train, val = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    assert len(train) == 3 and len(val) == 2 and train.metainfo['classes'] == val.metainfo['classes'] == VOC_CLASSES
    sample = train[1]['data_samples']
    assert [VOC_CLASSES[label] for label in sample.gt_instances.labels] == ['dog', 'person'][:len(sample.gt_instances)]
    assert len(sample.gt_instances.masks) == len(sample.gt_instances)
    truth = val[0]['data_samples']
    assert [VOC_CLASSES[item['bbox_label']] for item in truth.instances] == ['dog'] and truth.scale_factor
    METRICS.build(cfg.val_evaluator)
    types = [hook.type for hook in cfg.custom_hooks]
    assert types == ['SafeCheckpointHook']


def tiny(path, work_dir):
    """The config with images of 64 pixels, two steps of training and small numbers."""
    cfg = Config.fromfile(path)
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=2 if name == 'train' else 1)
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (64, 64)
    cfg.train_dataloader.dataset.filter_cfg.min_size = 1
    cfg.model.backbone.init_cfg = None
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
    cfg.param_scheduler = []
    cfg.default_hooks.logger.interval = 1
    cfg.randomness = dict(seed=0)
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.mark.skipif(LITE, reason=NEEDS)
def test_the_small_one_trains_and_is_measured(pseudo, tmp_path):
    cfg = tiny(FOLDER / 'mask-rcnn_mbv2_voc-pseudo.py', tmp_path / 'work')
    cfg.model.test_cfg.rcnn.score_thr = 0.
    runner = Runner.from_cfg(cfg)
    before = runner.model.roi_head.mask_head.conv_logits.weight.clone()
    runner.train()
    lines = [json.loads(line) for path in (tmp_path / 'work').glob('*/vis_data/scalars.json')
             for line in path.read_text().splitlines()]
    losses = [line for line in lines if 'loss' in line]
    assert len(losses) == 2 and all(np.isfinite(line['loss']) and line['loss_mask'] > 0 for line in losses)
    assert not torch.equal(before, runner.model.roi_head.mask_head.conv_logits.weight)
    metrics, = [line for line in lines if 'mAP_50' in line]
    assert 0 <= metrics['mAP_50'] <= 100 and 'ABO' in metrics
    state = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=True)['state_dict']
    assert torch.equal(state['roi_head.mask_head.conv_logits.weight'],
                       runner.model.roi_head.mask_head.conv_logits.weight)


@pytest.mark.parametrize('stem', ['condinst_r50_voc-pseudo', 'mask2former_r50_voc-pseudo',
                                  'rtmdet-ins_lite2_voc-pseudo'])
def test_the_others_have_a_loss_and_gradients(stem, pseudo):
    """One batch of two images of 64 pixels; none of them calls a compiled operator in training on a CPU."""
    cfg = tiny(FOLDER / f'{stem}.py', 'unused')
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type in ('RandomResize', 'RandomChoiceResize'):
            step.update(dict(scale=(64, 64), ratio_range=(1., 1.)) if step.type == 'RandomResize' else
                        dict(scales=[(64, 64)]))
        elif step.type == 'RandomCrop':
            step.crop_size = (64, 64)
    cfg.model.data_preprocessor.batch_augments = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    data = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([data[0], data[1]]), training=True)
    loss, parts = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    assert loss.isfinite() and parts['loss_mask'] > 0
    assert all(part.grad.isfinite().all() for part in model.parameters() if part.grad is not None)
    *_, last = (part for part in model.backbone.parameters() if part.dim() == 4 and part.requires_grad)
    assert last.grad.abs().sum() > 0
