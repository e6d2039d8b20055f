"""``tools/misc/download.py``; what it does is tested in test_download.py and test_model_zoo.py."""
import functools
import http.server
import threading
from pathlib import Path

import pytest
import torch
import yaml
from support import Payload, load_tool

from mmiam.engine import read_checkpoint
from mmiam.utils.download import sha256_of

ROOT = Path(__file__).parents[2]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def download(tmp_path, monkeypatch):
    """``download(name)`` -> exit status; the index has the models ``good`` and ``hostile``, served on loopback."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    (tmp_path / 'served').mkdir()
    torch.save(dict(state_dict=dict(w=torch.ones(2))), tmp_path / 'served' / 'good.pth')
    torch.save(dict(state_dict=Payload(tmp_path / 'payload_ran')), tmp_path / 'served' / 'hostile.pth')
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(tmp_path / 'served')))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    models = [dict(Name=name, Config='configs/a.py', Weights=f'http://127.0.0.1:{server.server_port}/{name}.pth',
                   Metadata=dict(SHA256=sha256_of(tmp_path / 'served' / f'{name}.pth')))
              for name in ('good', 'hostile')]
    (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=models)))
    (tmp_path / 'index.yml').write_text(yaml.safe_dump(dict(Import=['metafile.yml'])))
    module = load_tool('tools/misc/download.py')
    yield lambda *flags: module.main([*flags, '--index', str(tmp_path / 'index.yml'), '--out', str(tmp_path / 'out')])
    server.shutdown()
    server.server_close()


def test_weights_by_name(download, tmp_path, capsys):
    assert download('good') == 0
    path = capsys.readouterr().out.splitlines()[-1]
    assert path == str(tmp_path / 'out' / 'good.pth')
    assert read_checkpoint(path)['state_dict']['w'].tolist() == [1, 1]
    assert download('--list') == 0 and '/hostile.pth' in capsys.readouterr().out
    assert download('other') == 2
    assert "no model 'other' in the index; there are good, hostile" in capsys.readouterr().err


def test_a_hostile_file_is_refused_and_removed_although_its_hash_is_right(download, tmp_path, capsys):
    assert download('hostile') == 2
    assert 'is refused and nothing in it was run' in capsys.readouterr().err
    assert not (tmp_path / 'payload_ran').exists() and not (tmp_path / 'out' / 'hostile.pth').exists()


def test_the_projects_own_index(capsys):
    module = load_tool('tools/misc/download.py')
    assert module.main(['--list']) == 0
    printed = capsys.readouterr().out
    assert 'iam_r50_voc' in printed and 'voc_table1_iam_r50' in printed
