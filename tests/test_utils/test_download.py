"""Downloads against a server on loopback: mmiam/utils/download.py."""
import hashlib
from pathlib import Path

import pytest

from mmiam.utils.download import cache_folder, fetch, file_name

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def served(server):
    server.content['*'], server.content['/missing.pth'] = DATA, None


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != '.lock')


def test_fetch_and_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    path = fetch(f'{server.url}/some/model.pth', SHA, progress=False)
    assert open(path, 'rb').read() == DATA and path.startswith(str(cache_folder())) and path.endswith('/model.pth')
    assert fetch(f'{server.url}/some/model.pth#sha256={SHA}') == path and server.requests == ['/some/model.pth']
    assert fetch(f'{server.url}/other/model.pth', SHA, progress=False) != path


def test_a_damaged_copy_is_fetched_anew(server, tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'damaged')
    assert open(fetch(f'{server.url}/a.pth', SHA, tmp_path), 'rb').read() == DATA


def test_broken_transfers_are_begun_again(server, tmp_path):
    server.cuts = [1000, 500000]
    fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert (tmp_path / 'a.pth').read_bytes() == DATA and names(tmp_path) == ['a.pth']
    server.cuts = [100, 100, 100]
    with pytest.raises(OSError, match='broke off 3 times .*run the same command again'):
        fetch(f'{server.url}/b.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == ['a.pth']


def test_an_end_that_comes_early_is_not_taken_for_the_whole(server, tmp_path):
    """Where the server states no length, the sha256 tells."""
    server.states_length, server.cuts = False, [1000]
    with pytest.raises(ValueError, match='has the sha256'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == []


def test_a_wrong_hash_is_refused_and_removed(server, tmp_path):
    with pytest.raises(ValueError, match=f'has the sha256 {SHA}, expected 00.*It was removed'):
        fetch(f'{server.url}/a.pth', '0' * 64, tmp_path, progress=False)
    with pytest.raises(ValueError, match='expected 12345678'):
        fetch(f'{server.url}/model-12345678.pth', folder=tmp_path, progress=False)
    assert names(tmp_path) == []
    fetch(f'{server.url}/model-{SHA[:8]}.pth', folder=tmp_path, progress=False)
    assert names(tmp_path) == [f'model-{SHA[:8]}.pth']


def test_a_file_of_which_no_hash_is_known_is_refused(server, tmp_path):
    with pytest.raises(ValueError, match='no sha256 of this file is known.*#sha256='):
        fetch(f'{server.url}/a.pth', folder=tmp_path)
    assert server.requests == [] and not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='the system has no /dev/full')
def test_a_disk_that_fills_up(server, tmp_path, monkeypatch):
    import mmiam.utils.download as download
    real = download._transfer
    monkeypatch.setattr(download, '_transfer', lambda url, part, progress: real(url, Path('/dev/full'), progress))
    with pytest.raises(OSError, match='No space left on device'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == []


def test_no_network_and_no_file(server, tmp_path):
    with pytest.raises(OSError, match='the server answers 404 .*check the address'):
        fetch(f'{server.url}/missing.pth', SHA, tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match='cannot be reached .*check the network'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize('url', ['file:///etc/passwd', 'model.pth', 'http:///a.pth', 'http://h/', 'http://h/..',
                                 'http://h/%2e%2e%2fa.pth/..', 'http://h/.bashrc', 'http://h/a%00b', 'http://h/a.part',
                                 'http://h/a%5C..%5Cb'])
def test_addresses_that_are_none_or_lead_elsewhere(url, tmp_path):
    with pytest.raises(ValueError):
        fetch(url, SHA, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_escaped_path_gives_its_last_part():
    assert file_name('http://h/%2e%2e%2f%2e%2e%2fa.pth?x=/y') == 'a.pth'
    with pytest.raises(ValueError, match='64 hexadecimal digits'):
        fetch('http://h/a.pth', 'abc')
