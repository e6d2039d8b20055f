"""The command line of tools/model_converters; what they do is tested in test_conversion.py and test_publishing.py."""
from pathlib import Path

import pytest
import torch
from conftest import Payload, load_tool
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmiam.engine import read_checkpoint

ROOT = Path(__file__).parents[2]


def tool(name):
    return load_tool(f'tools/model_converters/{name}.py')


def test_backbone_for_a_config(tmp_path):
    """ImageNet weights as they are published, converted, are what ``init_cfg`` loads."""
    init_default_scope('mmdet')
    cfg = dict(type='ResNet', depth=18, base_channels=8)
    state = MODELS.build(cfg).state_dict()
    torch.save({**state, 'fc.weight': torch.ones(10, 64), 'fc.bias': torch.ones(10)}, tmp_path / 'in.pth')
    source, target = str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')
    assert tool('resnet2mmiam').main([source, target]) == 0
    net = MODELS.build(dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=target)))
    net.init_weights()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert tool('resnet2mmiam').main([source, target, '--layout', 'classifier']) == 0
    assert read_checkpoint(target)['state_dict']['peak_head.classifier.weight'].shape == (10, 64, 1, 1)


def test_publish(tmp_path, capsys):
    torch.save(dict(state_dict=dict(w=torch.ones(1)), optimizer={}), tmp_path / 'in.pth')
    publish = tool('publish_model')
    assert publish.main([str(tmp_path / 'in.pth'), str(tmp_path / 'm.pth'), '--note', 'config=a.py']) == 0
    path = Path(capsys.readouterr().out.splitlines()[0])
    assert path.name.startswith('m-') and read_checkpoint(str(path))['meta']['config'] == 'a.py'
    assert publish.main([str(tmp_path / 'in.pth'), str(tmp_path / 'm.tar')]) == 1


@pytest.mark.parametrize('name', ['publish_model', 'resnet2mmiam'])
def test_hostile_or_foreign_files(name, tmp_path, capsys):
    torch.save(dict(state_dict=Payload(tmp_path / 'payload_ran')), tmp_path / 'in.pth')
    assert tool(name).main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]) == 1
    assert 'nothing in it was run' in capsys.readouterr().err
    assert tool(name).main([str(tmp_path / 'none.pth'), str(tmp_path / 'out.pth')]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth']
