import hashlib
import http.server
import os
import pickle
import threading

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from support import Payload

from mmiam.engine import read_checkpoint, safe_loader


def test_plain_checkpoints_load(tmp_path):
    torch.save(dict(state_dict=dict(w=torch.arange(3.)), meta=dict(epoch=1, names=('a', ))), tmp_path / 'a.pth')
    content = read_checkpoint(str(tmp_path / 'a.pth'))
    assert content['state_dict']['w'].tolist() == [0, 1, 2] and content['meta'] == dict(epoch=1, names=('a', ))


def test_a_payload_is_named_and_does_not_run(hostile):
    with pytest.raises(ValueError, match=r'hostile.pth is refused and nothing in it was run: .* call posix.mkdir'):
        read_checkpoint(str(hostile))


def test_bare_pickles_do_not_run(hostile, tmp_path):
    for protocol in range(2, 6):
        (tmp_path / 'bare.pth').write_bytes(pickle.dumps(Payload(tmp_path / 'payload_ran'), protocol))
        with pytest.raises(ValueError, match='bare.pth .*nothing in it was run'):
            read_checkpoint(str(tmp_path / 'bare.pth'))


def test_other_contents_are_sentences(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(FileNotFoundError, match='a.pth does not exist'):
        read_checkpoint(str(path))
    path.write_bytes(b'')
    with pytest.raises(ValueError, match='a.pth is empty'):
        read_checkpoint(str(path))
    torch.save(dict(w=torch.ones(100)), path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match='a.pth is truncated, damaged or no checkpoint'):
        read_checkpoint(str(path))
    torch.save(torch.ones(1), path)
    with pytest.raises(ValueError, match='a.pth holds a Tensor, not a checkpoint'):
        read_checkpoint(str(path))
    torch.save(dict(hub=HistoryBuffer([1.], [1]), x=np.float64(1)), path)
    with pytest.raises(ValueError, match='write its state_dict alone'):
        read_checkpoint(str(path))


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


def test_a_payload_behind_an_address_does_not_run(hostile, tmp_path, monkeypatch):
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    data = hostile.read_bytes()
    digest = f'#sha256={hashlib.sha256(data).hexdigest()}'

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with safe_loader(), pytest.raises(ValueError, match='nothing in it was run'):
            CheckpointLoader.load_checkpoint(f'http://127.0.0.1:{server.server_port}/model.pth{digest}', 'cpu')
    finally:
        server.shutdown()
        server.server_close()


def pretrained(net, path, **kwargs):
    init_default_scope('mmdet')
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
    init_default_scope('mmdet')
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
