import hashlib
import os
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from support import Payload

from mmiam.engine import read_checkpoint, safe_loader


@pytest.fixture
def contents(hostile, tmp_path):
    """name -> bytes of files that are no checkpoint."""
    torch.save(dict(w=torch.ones(100), hub=HistoryBuffer([1.], [1])), tmp_path / 'a.pth')
    torch.save(torch.ones(1), tmp_path / 'b.pth')
    return dict(hostile=hostile.read_bytes(), empty=b'', cut=(tmp_path / 'a.pth').read_bytes()[:300],
                tensor=(tmp_path / 'b.pth').read_bytes(), objects=(tmp_path / 'a.pth').read_bytes(),
                **{f'bare {protocol}': pickle.dumps(Payload(tmp_path / 'payload_ran'), protocol)
                   for protocol in range(2, 6)})


@pytest.mark.parametrize('name, message', [
    ('hostile', 'is refused and nothing in it was run: .* call posix.mkdir'), ('empty', 'is empty'),
    ('cut', 'is truncated, damaged or no checkpoint'), ('tensor', 'holds a Tensor, not a checkpoint'),
    ('objects', 'write its state_dict alone'), *[(f'bare {p}', 'nothing in it was run') for p in range(2, 6)]])
def test_what_is_no_checkpoint_is_a_sentence_and_does_not_run(contents, name, message, tmp_path):
    with pytest.raises(FileNotFoundError, match='c.pth does not exist'):
        read_checkpoint(str(tmp_path / 'c.pth'))
    (tmp_path / 'c.pth').write_bytes(contents[name])
    with pytest.raises(ValueError, match=f'c.pth .*{message}'):
        read_checkpoint(str(tmp_path / 'c.pth'))


def test_a_payload_behind_an_address_does_not_run(hostile, tmp_path, monkeypatch, server):
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    server.content['*'] = hostile.read_bytes()
    digest = hashlib.sha256(hostile.read_bytes()).hexdigest()
    with safe_loader(), pytest.raises(ValueError, match='nothing in it was run'):
        CheckpointLoader.load_checkpoint(f'{server.url}/model.pth#sha256={digest}', 'cpu')


def test_mmengine_reads_safely_within_the_block_only(hostile, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # the usual way around the safe loader
    before = CheckpointLoader._get_checkpoint_loader('a.pth')
    with pytest.warns(UserWarning, match='is ignored'), safe_loader():
        with pytest.raises(ValueError, match='nothing in it was run'):
            CheckpointLoader.load_checkpoint(str(hostile), 'cpu')
        with pytest.raises(pickle.UnpicklingError):  # even where another library asks for the unsafe loader
            torch.load(hostile, weights_only=False)
    assert CheckpointLoader._get_checkpoint_loader('a.pth') is before
    assert os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD') == '1'
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


def pretrained(net, path, **kwargs):
    built = MODELS.build(dict(net, init_cfg=dict(type='Pretrained', checkpoint=str(path), **kwargs)))
    with safe_loader():
        built.init_weights()
    return built


RESNET = dict(type='ResNet', depth=18, base_channels=8)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_pretrained_weights_of_this_very_network(prefix, tmp_path):
    state = MODELS.build(RESNET).state_dict()
    stored = {f'{prefix}{key}': value for key, value in state.items()}
    torch.save(stored | {'fc.bias': torch.ones(2)}, tmp_path / 'w.pth')
    built = pretrained(RESNET, tmp_path / 'w.pth')
    assert all(torch.equal(value, state[key]) for key, value in built.state_dict().items())
    if prefix == 'backbone.':
        built = pretrained(RESNET, tmp_path / 'w.pth', prefix='backbone')
        assert torch.equal(built.conv1.weight, state['conv1.weight'])


@pytest.mark.parametrize('other, message', [
    (dict(RESNET, depth=34), 'no place for: layer1.2'), (dict(RESNET, base_channels=4), 'of another model'),
    (dict(type='MobileNetV2', widen_factor=0.1), 'of another model: 0 of')])
def test_pretrained_weights_of_another_network(other, message, tmp_path):
    """mmengine loads what fits and writes a line into the log."""
    torch.save(MODELS.build(other).state_dict(), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=f'w.pth .*{message}'):
        pretrained(RESNET, tmp_path / 'w.pth')


def test_torchvisions_names(tmp_path, monkeypatch):
    """``torchvision://resnet50`` is what mmdet's configs mean; the hash is in the name of the file."""
    asked = []
    monkeypatch.setattr('mmiam.utils.checkpoints.fetch', lambda url: asked.append(url) or str(tmp_path / 'w.pth'))
    torch.save(dict(w=torch.ones(1)), tmp_path / 'w.pth')
    with safe_loader():
        assert list(CheckpointLoader.load_checkpoint('torchvision://resnet50', 'cpu')) == ['w']
        with pytest.raises(ValueError, match='torchvision://resnet51: there is no such model'):
            CheckpointLoader.load_checkpoint('torchvision://resnet51', 'cpu')
    assert len(asked) == 1 and asked[0].endswith('/resnet50-0676ba61.pth')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'weights').mkdir()
    torch.save(dict(near=torch.ones(1)), tmp_path / 'weights/resnet50_imagenet.pth')
    assert list(read_checkpoint('torchvision://resnet50')) == ['near'] and len(asked) == 1
