"""Every config builds from another working directory, without data, weights or proposals at hand."""
from pathlib import Path

import pytest
import torch
from mmdet.registry import HOOKS, MODELS, TRANSFORMS, VISUALIZERS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

FOLDER = Path(__file__).parents[2] / 'configs'
#: what is no config, and what of methods of mmdet's own is tested in test_mixing_configs.py and test_retrain_configs.py
OTHERS = ('_base_', 'mask-rcnn', 'retrain')
FILES = [path for path in sorted(FOLDER.rglob('*.py'))
         if not any(part.startswith(OTHERS) for part in path.relative_to(FOLDER).parts)]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def learning_rates(cfg) -> dict[str, set[float]]:
    """Learning rates of the trainable parameters of each part of the model; no memory is spent on weights."""
    backbone = (cfg.model.get('backbone') or {}).get('type')
    computing = backbone in ('SwinTransformer', 'EfficientNetLite')  # mmdet's compute while they are built
    with torch.device('cpu' if computing else 'meta'):
        model = MODELS.build(cfg.model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {}
    for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups:
        for parameter in group['params']:
            if parameter.requires_grad:
                rates.setdefault(names[id(parameter)].split('.')[0], set()).add(round(group['lr'], 9))
    return rates


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_config_builds(path, elsewhere):
    cfg = Config.fromfile(path)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) is not None:
            steps = [TRANSFORMS.build(step) for step in cfg[name].dataset.pipeline]
            assert type(steps[0]).__name__ == 'LoadImageFromFile' and type(steps[-1]).__name__ == 'PackWeakInputs'
    VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None))  # as the runner does before hooks
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        assert HOOKS.build(hook) is not None
    if cfg.model.type == 'PrecomputedPredictions':  # no parameters, nothing trains
        assert cfg.get('train_dataloader') is None and MODELS.build(cfg.model)
        return
    rates = learning_rates(cfg)
    assert rates.keys() == {'backbone', 'peak_head'} | ({'filler'} if cfg.model.filler else set())
    factors = cfg.optim_wrapper.paramwise_cfg.get('custom_keys', {})
    for part, values in rates.items():
        assert values == {round(cfg.optim_wrapper.optimizer.lr * factors.get(part, {}).get('lr_mult', 1.), 9)}
    stage_hook = [hook for hook in cfg.custom_hooks if hook.type == 'TrainingStageHook']
    assert bool(stage_hook) == bool(cfg.model.filler)
    if stage_hook:
        assert 0 <= stage_hook[0].fill_begin == cfg.fill_begin < cfg.train_cfg.max_epochs == cfg.max_epochs
        assert cfg.fill_begin or path.stem.endswith('_fill')  # that one alone starts from a trained classifier


@pytest.mark.parametrize('stem', ['iam_r50_voc', 'iam-plus_r50_voc'])
def test_learning_rates_of_the_paper(stem, elsewhere):
    """Sec. 3.3: classifier 0.01, filling module 0.1; the backbone's is our choice."""
    rates = learning_rates(Config.fromfile(FOLDER / f'{stem}.py'))
    assert rates == dict(backbone={1e-4}, peak_head={1e-2}, filler={1e-1})


@pytest.mark.parametrize('stem', ['iam_r50_voc', 'iam-plus_r50_voc'])
def test_paper_config(stem, elsewhere):
    """Sec. 3.3: 448 x 448, N = 112 steps; C and k as the configuration states them; res-blocks 2 to 4."""
    cfg = Config.fromfile(FOLDER / f'{stem}.py')
    model = MODELS.build(cfg.model).eval()
    assert cfg.train_dataloader.dataset.ann_file.endswith('train_aug.txt')
    for name in ('train_dataloader', 'test_dataloader'):
        resize, = [step for step in cfg[name].dataset.pipeline if step.type == 'Resize']
        assert tuple(resize.scale) == (448, 448) and not resize.keep_ratio
    with torch.no_grad():
        encoded = model.filler.encoder(torch.zeros(1, 1, 448, 448))
        feats = model.backbone(torch.zeros(1, 3, 64, 64))
    assert encoded.shape == (1, 16, 112, 112) and model.filler.num_steps is None  # None: N steps
    levels = [feats[index] for index in model.filler.in_indices]
    assert [(level.shape[1], 64 // level.shape[2]) for level in levels] == [(256, 4), (512, 8), (1024, 16)]
    assert [level[0].in_channels for level in model.filler.weight_pyramid.levels] == [256, 512, 1024]
    assert model.filler.weight_pyramid.levels[0][-1].out_channels == 16 * 9
    assert model.sampler.selection['k'] == 5 and model.sampler.selection['overlap_thr'] == 0.2


@pytest.mark.parametrize('stem', ['iam_r50_voc', 'iam-s1_r50_voc', 'iam_mbv2_voc'])
def test_nothing_is_added_to_the_paper(stem, elsewhere):
    """Every option of ours is off in the configs named like the paper."""
    cfg = Config.fromfile(FOLDER / f'{stem}.py')
    assert [dict(hook) for hook in cfg.custom_hooks] == [dict(type='TrainingStageHook', fill_begin=20)]
    model = MODELS.build(cfg.model)
    assert model.filler.context is None and model.filler.aux_loss is None
    assert model.sampler.prior == dict(rank_weight=0., class_map_weight=0.)
    assert model.sampler.alpha == 0.8 and model.sampler.selection['min_score'] is None
    assert model.sampler.trusted_fraction == 1
    assert model.filler.stride == 4 and model.filler.pooling == 1 and model.post_processor.region == 'all'
