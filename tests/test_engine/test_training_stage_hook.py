from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmiam.engine.cue_caching import open_cue_cache
from mmiam.engine.hooks import TrainingStageHook


@pytest.fixture
def runner(tiny_config, tmp_path):
    cfg = Config(dict(model=tiny_config().model))
    return SimpleNamespace(
        model=MODELS.build(cfg.model), max_epochs=6, cfg=cfg, work_dir=str(tmp_path), _has_loaded=False,
        logger=MMLogger.get_current_instance(), message_hub=SimpleNamespace(log_scalars={}),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('a', 'b', 'c')))))


def test_stages_self_selection_and_the_cache_begin_with_their_epochs(runner):
    model = runner.model
    for hook, expected in ((TrainingStageHook(2), [False] * 6),
                           (TrainingStageHook(2, select_begin=4), [False] * 4 + [True] * 2)):
        for runner.epoch in range(6):
            hook.before_train_epoch(runner)
            assert model.sampler.self_selecting == expected[runner.epoch]
            assert model.stage == ('classify' if runner.epoch < 2 else 'fill')
        assert Path(model.cue_cache.folder).parent.parent == Path(runner.work_dir)
    model.sampler.self_selecting = False
    TrainingStageHook(2, select_begin=4).before_train_epoch(runner)  # resumed in epoch 5
    assert model.sampler.self_selecting
    with pytest.raises(ValueError, match='select_begin=1 lies before fill_begin=2'):
        TrainingStageHook(2, select_begin=1)


def test_the_log_of_a_stage_begins_with_it(runner):
    """The smoothing window would average the losses of both stages."""
    log = runner.message_hub.log_scalars
    log.update({'train/loss': 1, 'train/loss_cls': 2, 'train/lr': 3, 'val/loss': 4})
    hook = TrainingStageHook(1, cache_cues=False)
    for runner.epoch in range(3):
        hook.before_train_epoch(runner)
        assert ('train/loss' in log) == (runner.epoch != 1) and {'train/lr', 'val/loss'} <= set(log)
        log['train/loss'] = 1


def test_the_filling_stage_alone_needs_a_classifier(runner):
    TrainingStageHook(1).before_train(runner)
    with pytest.raises(ValueError, match='give its checkpoint, --cfg-options load_from='):
        TrainingStageHook(0).before_train(runner)
    runner._has_loaded = True
    TrainingStageHook(0).before_train(runner)


def test_as_many_outputs_as_classes(runner):
    runner.train_dataloader.dataset.metainfo['classes'] = ('a', 'b')
    with pytest.raises(ValueError, match='num_classes is 3, and the data set has the 2 classes'):
        TrainingStageHook(1).before_train(runner)


# ------------------------------------------------------------------------------- what the cache of cues depends on
@pytest.fixture
def folder_of(tiny_config, tmp_path, mini_voc):
    """``folder_of(change, bias)`` -> the cache's folder of a config after ``change(config)``, with the same weights."""
    root = mini_voc()

    def make(change=lambda cfg: None, bias=None):
        cfg = tiny_config(root)
        change(cfg)
        torch.manual_seed(0)
        model = MODELS.build(Config(dict(model=cfg.model)).model)
        if bias is not None:
            model.cue.classifier.head.classifier.bias.data.fill_(bias)
        return Path(open_cue_cache(model, cfg, str(tmp_path), 1.).folder)

    return make


def test_weights_of_a_cue_of_its_own_are_part_of_the_fingerprint(folder_of):
    def change(cfg):
        cfg.model.peak_head = None
        cfg.model.cue = dict(type='ClassifierCue', classifier=dict(
            type='FrozenClassifier', backbone=dict(type='ResNet', depth=18, base_channels=4, out_indices=(3, )),
            head=dict(type='SoftmaxHead', num_classes=3, in_channels=32)))

    assert folder_of(change, 0.) == folder_of(change, 0.) != folder_of(change, 1.)


@pytest.mark.parametrize('key, value', [
    ('model.backbone.strides', (1, 2, 2, 1)), ('model.peak_head.peak_thr', 1.), ('model.peak_head.win_size', 5),
    ('model.cue', dict(type='ClassMapCue')), ('model.data_preprocessor.std', [57., 57., 57.]),
    ('model.sampler.alpha', .3), ('model.sampler.num_candidates', 2),
    ('train_dataloader.dataset.pipeline.2.interpolation', 'nearest'),
    ('train_dataloader.dataset.pipeline.2.scale', (96, 96)),
    ('train_dataloader.dataset.pipeline.0.imdecode_backend', 'pillow')])
def test_settings_that_cues_depend_on_are_part_of_the_fingerprint(folder_of, key, value):
    assert folder_of(lambda cfg: cfg.merge_from_dict({key: value})) != folder_of()


def test_another_version_has_cues_of_its_own(folder_of, monkeypatch):
    before = folder_of()
    monkeypatch.setattr('mmiam.utils.checkpoints.__version__', '0.0.0')
    assert folder_of() != before


def test_a_wrapped_data_set_has_the_pipeline_of_the_one_inside(folder_of):
    def wrap(cfg):
        cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)

    def wrap_another(cfg):
        cfg.train_dataloader.dataset.pipeline[2].interpolation = 'nearest'
        wrap(cfg)

    assert folder_of(wrap) == folder_of() != folder_of(wrap_another)


def test_what_cues_do_not_depend_on_is_not(folder_of):
    plain = folder_of()
    for key, value in (('model.sampler.trusted_fraction', .3), ('model.filler.num_steps', 3),
                       ('model.backbone.init_cfg', dict(_delete_=True, type='Pretrained', checkpoint='else.pth')),
                       ('train_dataloader.batch_size', 7)):
        assert folder_of(lambda cfg: cfg.merge_from_dict({key: value})) == plain, key  # noqa: B023
