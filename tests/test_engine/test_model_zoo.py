import hashlib

import pytest
import yaml

from mmiam.engine.model_zoo import fetch_weights, load_models


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """``zoo(**entry)`` -> a model-index.yml whose only model is ``tiny`` with these keys."""
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))

    def write(**entry):
        models = [dict(dict(Name='tiny', Config='configs/tiny.py'), **entry)]
        (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=models)))
        (tmp_path / 'model-index.yml').write_text(yaml.safe_dump(dict(Import=['metafile.yml'])))
        return tmp_path / 'model-index.yml'

    return write


def test_weights_of_a_model(zoo, server, tmp_path):
    server.content['/tiny.pth'] = b'weights' * 1000
    index = zoo(Weights=f'{server.url}/tiny.pth', Metadata=dict(SHA256=hashlib.sha256(b'weights' * 1000).hexdigest()))
    path = fetch_weights('tiny', index=index, progress=False)
    assert str(tmp_path / 'cache') in path and open(path, 'rb').read() == server.content['/tiny.pth']
    assert fetch_weights('tiny', tmp_path / 'here', index, progress=False) == str(tmp_path / 'here' / 'tiny.pth')


def test_without_a_right_hash_nothing_is_kept(zoo, server, tmp_path):
    server.content['*'], address = b'weights', f'{server.url}/tiny.pth'
    with pytest.raises(ValueError, match="no 'Metadata: SHA256'|states no"):
        fetch_weights('tiny', index=zoo(Weights=address), progress=False)
    with pytest.raises(ValueError, match='It was removed'):
        fetch_weights('tiny', index=zoo(Weights=address, Metadata=dict(SHA256='0' * 64)), progress=False)
    assert all(path.suffix == '.lock' for path in (tmp_path / 'cache').rglob('*.pth*'))


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
