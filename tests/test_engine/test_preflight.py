import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmiam.engine import check_config_files, check_weights


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


def test_weights_of_another_shape_are_refused(tmp_path):
    """Missing and further weights are not: a cue's classifier has a file of its own."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    for state in (dict(model.state_dict(), further=torch.zeros(1)), {'0.weight': torch.zeros(3, 2)}):
        torch.save(dict(state_dict=state), tmp_path / 'a.pth')
        check_weights(model, str(tmp_path / 'a.pth'))
    torch.save({'1.weight': torch.zeros(4, 5), '1.bias': torch.zeros(4)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a.pth is of another model: 1 of .* 1.weight, \(4, 5\) in place of \(4, 3\)'):
        check_weights(model, str(tmp_path / 'a.pth'))
