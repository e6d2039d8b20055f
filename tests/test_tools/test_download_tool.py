"""``tools/misc/download.py``; what it does is tested in test_download.py and test_model_zoo.py."""
import hashlib

import pytest
import torch
import yaml
from support import Payload, load_tool

from mmiam.engine import read_checkpoint


@pytest.fixture
def download(tmp_path, server):
    """``download(name)`` -> exit status; the index has the models ``good`` and ``hostile``."""
    models = []
    for name, state in (('good', dict(w=torch.ones(2))), ('hostile', Payload(tmp_path / 'payload_ran'))):
        torch.save(dict(state_dict=state), tmp_path / 'served.pth')
        data = server.content[f'/{name}.pth'] = (tmp_path / 'served.pth').read_bytes()
        models.append(dict(Name=name, Config='configs/a.py', Weights=f'{server.url}/{name}.pth',
                           Metadata=dict(SHA256=hashlib.sha256(data).hexdigest())))
    (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=models)))
    (tmp_path / 'index.yml').write_text(yaml.safe_dump(dict(Import=['metafile.yml'])))
    main = load_tool('tools/misc/download.py').main
    return lambda *flags: main([*flags, '--index', str(tmp_path / 'index.yml'), '--out', str(tmp_path / 'out')])


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
