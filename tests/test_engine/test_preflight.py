import math
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config

from mmiam.engine import check_config_files
from mmiam.engine.preflight import check_numbers, check_own_initializers, check_proposals, latest_checkpoint
from mmiam.utils.checkpoints import save_checkpoint


def test_every_missing_file_is_named_with_its_key_and_remedy(tiny_config, tmp_path):
    cfg = tiny_config()
    check_config_files(cfg, training=True)
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'))
    with pytest.raises(FileNotFoundError) as caught:
        check_config_files(cfg, training=True)
    assert "train_dataloader.dataset.data_root = " in str(caught.value) and 'nowhere' in str(caught.value)
    assert 'model.backbone.init_cfg.checkpoint' in str(caught.value) and 'init_cfg=None' in str(caught.value)
    check_config_files(cfg, training=False)  # a test needs neither


def test_missing_checkpoint_and_remote_weights(tiny_config):
    cfg = tiny_config()
    cfg.load_from = 'https://example.com/model.pth'
    check_config_files(cfg, training=False)
    cfg.load_from = 'none.pth'
    with pytest.raises(FileNotFoundError, match="load_from = 'none.pth'.*check the path"):
        check_config_files(cfg, training=False)


def test_proposals_in_a_pipeline_are_found():
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[dict(proposal_root='/no/proposals')]))))
    with pytest.raises(FileNotFoundError, match=r'pipeline\[0\].proposal_root.*tools/proposals/generate.py'):
        check_config_files(cfg, training=True)


def test_the_newest_whole_checkpoint(tmp_path):
    """``last_checkpoint`` may be empty, name another folder, or a file that was not written to its end."""
    assert latest_checkpoint(str(tmp_path / 'nowhere')) is None
    for epoch in (2, 9, 10):
        save_checkpoint(dict(state_dict=dict(w=torch.ones(50))), tmp_path / f'epoch_{epoch}.pth')
    save_checkpoint(dict(w=torch.ones(1)), tmp_path / 'best_epoch_90.pth')
    last = tmp_path / 'last_checkpoint'
    for text, expected in ((None, 10), ('', 10), ('/old/place/epoch_9.pth', 9), ('C:\\old\\epoch_2.pth', 2),
                           ('/old/epoch_77.pth', 10), ('\0\0', 10)):
        if text is not None:
            last.write_text(text)
        assert latest_checkpoint(str(tmp_path)) == str(tmp_path / f'epoch_{expected}.pth')
    whole = (tmp_path / 'epoch_10.pth').read_bytes()
    (tmp_path / 'epoch_10.pth').write_bytes(whole[:len(whole) // 2])
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / 'epoch_9.pth')
    for epoch in (2, 9):
        (tmp_path / f'epoch_{epoch}.pth').write_bytes(b'')
    with pytest.raises(ValueError, match='no checkpoint in .* is whole'):
        latest_checkpoint(str(tmp_path))


def test_all_missing_proposals_are_counted(tiny_config):
    cfg = tiny_config()
    folder = Path(cfg.train_dataloader.dataset.pipeline[1].proposal_root)
    dataset = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset))
    check_proposals(dataset)
    for name in ('t0', 't2'):
        (folder / f'{name}.npz').unlink()
    with pytest.raises(FileNotFoundError, match='2 of 3 training images have no proposals, the first is .*t0.npz'):
        check_proposals(dataset)


def test_a_normalization_that_is_not_the_weights(tiny_config, tmp_path):
    cfg = tiny_config()
    meta = dict(mean=[127.5] * 3, std=[127.5] * 3)
    save_checkpoint(dict(state_dict=dict(w=torch.ones(1)), meta=meta), tmp_path / 'w.pth')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    with pytest.raises(ValueError, match=r'trained on images of mean \[127.5, .*data_preprocessor.mean='):
        check_config_files(cfg, training=True)
    cfg.model.data_preprocessor.update(meta)
    check_config_files(cfg, training=True)


@pytest.mark.parametrize('config', [dict(a=dict(thr=float('nan'))), dict(a=dict(thr=[1, (0., float('nan'))]))])
def test_settings_that_are_no_numbers(config):
    check_numbers(dict(a=dict(thr=[-math.inf, 'nan', None, 0])))
    with pytest.raises(ValueError, match='the config: a.thr.* is NaN'):
        check_numbers(config)


def test_weights_that_are_no_numbers(tiny_config, tmp_path):
    cfg = tiny_config()
    save_checkpoint(dict(w=torch.tensor([float('nan')])), tmp_path / 'w.pth')
    cfg.load_from = str(tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='load_from: .*w.pth: 1 of 1 weights are infinite or no numbers'):
        check_config_files(cfg, training=False)


def test_own_initializers_are_looked_at(tmp_path):
    """Swin reads its file by itself: one of another network is refused all the same."""
    cfg = dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    path = str(tmp_path / 'w.pth')
    net = MODELS.build(dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=path)))
    save_checkpoint(dict(state_dict=net.state_dict()), path)
    check_own_initializers(net)
    save_checkpoint(MODELS.build(dict(type='ResNet', depth=18, base_channels=8)).state_dict(), path)
    with pytest.raises(ValueError, match='of another model: .* of SwinTransformer'):
        check_own_initializers(net)
