"""What the cache of cues depends on when the cue is a part of its own."""
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmiam.engine.hooks import TrainingStageHook


@pytest.fixture
def cache_folder(tiny_config, tmp_path):
    """``cache_folder(bias)`` -> the cache's folder for a cue whose classifier has this bias; no peak_head."""

    def make(bias):
        init_default_scope('mmdet')
        cfg = Config(dict(model=tiny_config().model))
        cfg.model.peak_head = None
        cfg.model.cue = dict(
            type='ClassifierCue', classifier=dict(
                type='FrozenClassifier', backbone=dict(type='ResNet', depth=18, base_channels=4, out_indices=(3, )),
                head=dict(type='SoftmaxHead', num_classes=3, in_channels=32)))
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.cue.classifier.head.classifier.bias.data.fill_(bias)
        runner = SimpleNamespace(model=model, epoch=0, max_epochs=1, cfg=cfg, work_dir=str(tmp_path / 'run'),
                                 logger=MMLogger.get_current_instance())
        TrainingStageHook(fill_begin=0).before_train_epoch(runner)
        return model.cue_cache.folder

    return make


def test_agreement_begins_with_its_epoch(tiny_config, tmp_path):
    init_default_scope('mmdet')
    cfg = Config(dict(model=tiny_config().model))
    model = MODELS.build(cfg.model)
    runner = SimpleNamespace(model=model, max_epochs=6, cfg=cfg, work_dir=str(tmp_path),
                             logger=MMLogger.get_current_instance())
    for hook, expected in ((TrainingStageHook(2), [False] * 6),
                           (TrainingStageHook(2, agree_begin=4), [False] * 4 + [True] * 2)):
        found = []
        for runner.epoch in range(6):
            hook.before_train_epoch(runner)
            found.append(model.sampler.agreeing)
        assert found == expected
    runner.epoch = 5  # resumed there
    model.sampler.agreeing = False
    TrainingStageHook(2, agree_begin=4).before_train_epoch(runner)
    assert model.sampler.agreeing
    with pytest.raises(ValueError, match='agree_begin=1 lies before fill_begin=2'):
        TrainingStageHook(2, agree_begin=1)


def test_weights_of_the_cue_are_part_of_the_fingerprint(cache_folder):
    assert cache_folder(0.) == cache_folder(0.) != cache_folder(1.)
