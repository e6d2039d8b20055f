"""Downloads against a server on loopback: mmiam/utils/download.py."""
import hashlib
from pathlib import Path

import pytest

from mmiam.utils import download
from mmiam.utils.download import cache_folder, fetch, file_name

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(server):
    server.content['*'], server.content['/missing.pth'] = DATA, None
    return server


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != '.lock')


def test_fetch_and_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    path = fetch(f'{server.url}/some/model.pth', SHA, progress=False)
    assert open(path, 'rb').read() == DATA and path.startswith(str(cache_folder())) and path.endswith('/model.pth')
    assert fetch(f'{server.url}/some/model.pth#sha256={SHA}') == path and server.requests == ['/some/model.pth']
    assert fetch(f'{server.url}/other/model.pth', SHA, progress=False) != path
    Path(path).write_bytes(b'damaged')
    assert fetch(f'{server.url}/some/model.pth', SHA) == path and open(path, 'rb').read() == DATA
    short = fetch(f'{server.url}/model-{SHA[:8]}.pth', folder=tmp_path / 'short', progress=False)
    assert names(tmp_path / 'short') == [f'model-{SHA[:8]}.pth'] and open(short, 'rb').read() == DATA


def test_broken_transfers_are_begun_again(server, tmp_path):
    server.cuts = [1000, 500000]
    assert open(fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False), 'rb').read() == DATA


def cut(server):
    server.cuts = [100, 100, 100]


def cut_without_length(server):
    """The sha256 tells."""
    server.states_length, server.cuts = False, [1000]


def close(server):
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('prepare, name, sha256, message', [
    (cut, 'b.pth', SHA, 'broke off 3 times .*run the same command again'),
    (cut_without_length, 'a.pth', SHA, 'has the sha256'),
    (None, 'a.pth', '0' * 64, f'has the sha256 {SHA}, expected 00.*It was removed'),
    (None, 'model-12345678.pth', None, 'expected 12345678'), (None, 'a.pth', 'abc', '64 hexadecimal digits'),
    (None, 'a.pth', None, 'no sha256 of this file is known.*#sha256='),
    (None, 'missing.pth', SHA, 'the server answers 404 .*check the address'),
    (close, 'a.pth', SHA, 'cannot be reached .*check the network')])
def test_what_is_not_whole_is_not_kept(server, tmp_path, prepare, name, sha256, message):
    if prepare is not None:
        prepare(server)
    with pytest.raises((OSError, ValueError), match=message):
        fetch(f'{server.url}/{name}', sha256, tmp_path, progress=False)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='the system has no /dev/full')
def test_a_disk_that_fills_up(server, tmp_path, monkeypatch):
    real = download._transfer
    monkeypatch.setattr(download, '_transfer', lambda url, part, progress: real(url, Path('/dev/full'), progress))
    with pytest.raises(OSError, match='No space left on device'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize('url', ['file:///etc/passwd', 'model.pth', 'http:///a.pth', 'http://h/', 'http://h/..',
                                 'http://h/%2e%2e%2fa.pth/..', 'http://h/.bashrc', 'http://h/a%00b', 'http://h/a.part',
                                 'http://h/a%5C..%5Cb'])
def test_addresses_that_are_none_or_lead_elsewhere(url):
    with pytest.raises(ValueError, match='is no http or https address|does not end with a plain file name'):
        file_name(url)
    assert file_name('http://h/%2e%2e%2f%2e%2e%2fa.pth?x=/y') == 'a.pth'
