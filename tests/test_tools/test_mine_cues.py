"""``tools/mine_cues.py``: shards, a second run, and a training that computes no cue any more."""
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner import Runner

pytestmark = pytest.mark.slow

VIEWS = 6  # three images with labels, each as it is and flipped


@pytest.fixture
def mine(call_tool, tiny_config, tmp_path, monkeypatch):
    """``mine(*flags)`` -> exit status, for a checkpoint of random weights; ``mine.cfg`` is the config."""
    cfg = tiny_config()
    cfg.log_level = 'INFO'
    cfg.dump(tmp_path / 'tiny.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'tiny.pth')
    monkeypatch.chdir(tmp_path)

    def run(*flags, checkpoint='tiny.pth'):
        return call_tool('tools/mine_cues.py', 'tiny.py', checkpoint, '--device', 'cpu', *flags)

    run.cfg, run.state = cfg, model.state_dict()
    return run


def files(folder):
    return sorted(folder.glob('work/cue_cache/*/*'))


def test_ranks_share_the_images_and_training_computes_nothing(mine, tmp_path, capsys, monkeypatch):
    assert mine('--shard', '0/2') == 0 and len(files(tmp_path)) == 4  # the first and the third image
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert mine('--shard', 'auto') == 0 and len(files(tmp_path)) == VIEWS
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    times = [path.stat().st_mtime_ns for path in files(tmp_path)]
    capsys.readouterr()
    for flags in ([], ['--cfg-options', 'model.sampler.trusted_fraction=.5']):  # the same candidates
        assert mine(*flags) == 0 and '6 views, 6 of them were there already' in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in files(tmp_path)] == times

    mine.cfg.merge_from_dict(dict(load_from='tiny.pth', train_cfg=dict(max_epochs=2, val_interval=9)))
    mine.cfg.custom_hooks = [dict(type='TrainingStageHook', fill_begin=0)]
    Runner.from_cfg(mine.cfg).train()
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert re.findall(r'cue cache: (\d+) read, (\d+) computed', log) == [('3', '0')] * 2
    assert len(files(tmp_path)) == VIEWS


@pytest.mark.parametrize('workers', [0, 1])
def test_a_broken_image_does_not_stop_the_others(mine, tmp_path, capsys, workers):
    image = next(tmp_path.glob('mini_voc_*/JPEGImages/t1.jpg'))
    image.write_bytes(image.read_bytes()[:-60])
    assert mine('--cfg-options', f'train_dataloader.num_workers={workers}') == 1 and len(files(tmp_path)) == 4
    assert re.search(r'failed: .*t1\.jpg: .*is damaged', capsys.readouterr().err)


def test_refusals(mine, hostile, tmp_path, capsys):
    for flags, message in (
            (['--shard', '2/2'], 'the first number must lie in 0..1'),
            (['--cfg-options', 'custom_hooks.0.cache_cues=False'], 'keeps no cues; it needs TrainingStageHook'),
            (['--cfg-options', 'custom_hooks.0.cache_gb=0'], 'takes no more: raise cache_gb'),
            (['--cfg-options', 'model.peak_head.num_classes=4'], 'the first is peak_head.classifier.weight'),
            (['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], "data_root = 'nowhere' does not exist")):
        assert mine(*flags) == 2 and message in capsys.readouterr().err
    assert mine(checkpoint=str(hostile)) == 2 and 'nothing in it was run' in capsys.readouterr().err
    assert mine(checkpoint='none.pth') == 2 and 'none.pth does not exist' in capsys.readouterr().err
    torch.save(dict(state_dict=mine.state, meta=dict(dataset_meta=dict(classes=('cat', 'dog')))), 'two.pth')
    two = ['--cfg-options', 'train_dataloader.dataset.metainfo.classes=(cat,dog)']
    assert mine(*two, checkpoint='two.pth') == 2 and 'names 2 classes' in capsys.readouterr().err
