"""Downloads against a server on loopback: mmiam/engine/download.py."""
import hashlib
import http.server
import threading
from collections import namedtuple

import pytest

from mmiam.engine import download
from mmiam.engine.download import cache_folder, fetch, file_name

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves DATA under every name; ``server.cuts`` holds after how many bytes the next answers break off."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get('Range')
        server.requests.append(asked)
        start = int(asked[len('bytes='):-1]) if asked and server.ranges else 0
        if self.path.startswith('/missing'):
            self.send_error(404)
            return
        if start >= len(DATA):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(DATA)}')
            self.end_headers()
            return
        body = DATA[start:]
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(body)))
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(DATA) - 1}/{len(DATA)}')
        self.end_headers()
        self.wfile.write(body[:server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server with ``url``, ``requests`` (Range headers received), ``cuts`` and ``ranges`` (whether it knows them)."""
    running = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    running.requests, running.cuts, running.ranges = [], [], True
    running.url = f'http://127.0.0.1:{running.server_port}'
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """No proxy of the machine stands between."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != '.lock')


def test_fetch_and_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMIAM_CACHE', str(tmp_path / 'cache'))
    path = fetch(f'{server.url}/some/model.pth', SHA, progress=False)
    assert open(path, 'rb').read() == DATA and path.startswith(str(cache_folder())) and path.endswith('/model.pth')
    assert fetch(f'{server.url}/some/model.pth', SHA, progress=False) == path and server.requests == [None]
    assert fetch(f'{server.url}/other/model.pth', SHA, progress=False) != path


def test_a_damaged_copy_is_fetched_anew(server, tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'damaged')
    assert open(fetch(f'{server.url}/a.pth', SHA, tmp_path), 'rb').read() == DATA


def test_broken_transfers_are_continued(server, tmp_path):
    server.cuts = [1000, 500000]
    fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert (tmp_path / 'a.pth').read_bytes() == DATA and names(tmp_path) == ['a.pth']
    assert server.requests == [None, 'bytes=1000-', 'bytes=501000-']


def test_a_transfer_that_stays_broken_goes_on_in_the_next_call(server, tmp_path):
    server.cuts = [100, 100, 100]
    with pytest.raises(OSError, match='broke off after 300 of 1024000 bytes; run the same command again'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == ['a.pth.part'] and (tmp_path / 'a.pth.part').stat().st_size == 300
    fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert server.requests[-1] == 'bytes=300-' and (tmp_path / 'a.pth').read_bytes() == DATA


def test_whole_or_overlong_parts(server, tmp_path):
    (tmp_path / 'a.pth.part').write_bytes(DATA)
    fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    (tmp_path / 'b.pth.part').write_bytes(DATA + b'more')
    fetch(f'{server.url}/b.pth', SHA, tmp_path, progress=False)
    assert (tmp_path / 'a.pth').read_bytes() == (tmp_path / 'b.pth').read_bytes() == DATA


def test_a_server_without_ranges(server, tmp_path):
    server.ranges, server.cuts = False, [1000]
    fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert (tmp_path / 'a.pth').read_bytes() == DATA


def test_a_wrong_hash_is_refused_and_removed(server, tmp_path):
    with pytest.raises(ValueError, match=f'has the sha256 {SHA}, expected 00.*It was removed'):
        fetch(f'{server.url}/a.pth', '0' * 64, tmp_path, progress=False)
    with pytest.raises(ValueError, match='expected 12345678'):
        fetch(f'{server.url}/model-12345678.pth', folder=tmp_path, progress=False)
    assert names(tmp_path) == []
    fetch(f'{server.url}/model-{SHA[:8]}.pth', folder=tmp_path, progress=False)
    assert names(tmp_path) == [f'model-{SHA[:8]}.pth']


def test_no_space(server, tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda path: usage(1, 1, 24000))
    with pytest.raises(OSError, match='no space: .* 0.0 MB free, 1.0 MB are needed; make room'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert names(tmp_path) == []


@pytest.mark.skipif(not download.Path('/dev/full').exists(), reason='the system has no /dev/full')
def test_a_disk_that_fills_up(server, tmp_path):
    (tmp_path / 'a.pth.part').symlink_to('/dev/full')
    with pytest.raises(OSError, match='a.pth.part cannot be written .No space left on device.; make room'):
        fetch(f'{server.url}/a.pth', SHA, tmp_path, progress=False)
    assert not (tmp_path / 'a.pth').exists()


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
        fetch(url, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_escaped_path_gives_its_last_part():
    assert file_name('http://h/%2e%2e%2f%2e%2e%2fa.pth?x=/y') == 'a.pth'
    with pytest.raises(ValueError, match='64 hexadecimal digits'):
        fetch('http://h/a.pth', 'abc')
