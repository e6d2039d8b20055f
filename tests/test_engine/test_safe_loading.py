import http.server
import os
import pickle
import threading

import numpy as np
import pytest
import torch
from conftest import Payload
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from mmiam.engine import check_checkpoint, read_checkpoint, safe_loader


def test_plain_checkpoints_load(tmp_path):
    torch.save(dict(state_dict=dict(w=torch.arange(3.)), meta=dict(epoch=1, names=('a', ))), tmp_path / 'a.pth')
    content = read_checkpoint(str(tmp_path / 'a.pth'))
    assert content['state_dict']['w'].tolist() == [0, 1, 2] and content['meta'] == dict(epoch=1, names=('a', ))
    check_checkpoint(str(tmp_path / 'a.pth'))


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
    with pytest.raises(ValueError, match='a.pth is truncated or no checkpoint'):
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
            CheckpointLoader.load_checkpoint(f'http://127.0.0.1:{server.server_port}/model.pth', 'cpu')
    finally:
        server.shutdown()
        server.server_close()
