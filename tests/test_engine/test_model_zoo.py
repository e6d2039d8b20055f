import http.server
import threading

import pytest
import yaml

from mmiam.engine.model_zoo import fetch_weights, load_models
from mmiam.utils.download import sha256_of


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """``zoo(**entry)`` -> a model-index.yml whose only model is ``tiny`` with these keys."""
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')

    def write(**entry):
        models = [dict(dict(Name='tiny', Config='configs/tiny.py'), **entry)]
        (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=models)))
        (tmp_path / 'model-index.yml').write_text(yaml.safe_dump(dict(Import=['metafile.yml'])))
        return tmp_path / 'model-index.yml'

    return write


@pytest.fixture
def weights(tmp_path):
    """(address, sha256) of a file on loopback."""
    (tmp_path / 'served').mkdir()
    (tmp_path / 'served' / 'tiny.pth').write_bytes(b'weights' * 1000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'served'))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/tiny.pth', sha256_of(tmp_path / 'served' / 'tiny.pth')
    server.shutdown()
    server.server_close()


def test_weights_of_a_model(zoo, weights, tmp_path):
    url, sha256 = weights
    index = zoo(Weights=url, Metadata=dict(SHA256=sha256))
    path = fetch_weights('tiny', index=index, progress=False)
    assert sha256_of(path) == sha256 and str(tmp_path / 'cache') in path
    assert fetch_weights('tiny', tmp_path / 'here', index, progress=False) == str(tmp_path / 'here' / 'tiny.pth')


def test_without_a_right_hash_nothing_is_kept(zoo, weights, tmp_path):
    with pytest.raises(ValueError, match="no 'Metadata: SHA256'|states no"):
        fetch_weights('tiny', index=zoo(Weights=weights[0]), progress=False)
    with pytest.raises(ValueError, match='It was removed'):
        fetch_weights('tiny', index=zoo(Weights=weights[0], Metadata=dict(SHA256='0' * 64)), progress=False)
    assert not list((tmp_path / 'cache').rglob('*.pth*')) or \
        all(path.suffix == '.lock' for path in (tmp_path / 'cache').rglob('*.pth*'))


def test_models_without_weights_and_unknown_names(zoo):
    with pytest.raises(ValueError, match='no weights of tiny are published; train them: .*configs/tiny.py'):
        fetch_weights('tiny', index=zoo())
    with pytest.raises(ValueError, match="no model 'other' in the index; there are tiny"):
        fetch_weights('other', index=zoo())


@pytest.mark.parametrize('content, message', [
    (dict(Import=['../other/metafile.yml']), 'must be a path below'), (dict(Import=['/etc/passwd']), 'must be a path'),
    (dict(Import=[3]), 'must be a path'), (dict(Models=[]), "a list under 'Import'"), ([], "a list under 'Import'")])
def test_bad_indexes(content, message, tmp_path):
    (tmp_path / 'model-index.yml').write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message):
        load_models(tmp_path / 'model-index.yml')


def test_yaml_that_would_run_something(tmp_path):
    (tmp_path / 'model-index.yml').write_text(f'!!python/object/apply:os.mkdir ["{tmp_path}/payload_ran"]')
    with pytest.raises(ValueError, match='no yaml of plain values'):
        load_models(tmp_path / 'model-index.yml')
    assert not (tmp_path / 'payload_ran').exists()


def test_a_config_outside_the_index(zoo):
    with pytest.raises(ValueError, match='must be a path below'):
        load_models(zoo(Config='../../tiny.py'))
    with pytest.raises(FileNotFoundError, match='nowhere.yml does not exist'):
        load_models('nowhere.yml')
