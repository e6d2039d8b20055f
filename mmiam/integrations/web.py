"""What the servers share: requests of bounded length, and errors as one sentence in json."""
from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mmiam.apis.options import sentence

#: headers of every answer; a page may use its own scripts and styles, and exchange data with this server only
HEADERS = {
    'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Content-Security-Policy':
    "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}


class Refused(Exception):
    """Error for a request that is not answered, with a status and a sentence for the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Handler that answers with what :meth:`get` or :meth:`post` returns, and turns errors into json.

    An error that a user can fix becomes one sentence in ``error``. The handler speaks HTTP/1.0, where an answer ends
    the connection, so the unread rest of a request is never taken for the next one.
    """
    server: Any
    timeout = 60  # seconds after which a silent connection is closed

    def get(self) -> tuple[bytes, str]:
        """Return content and type of the answer to a GET request."""
        raise NotImplementedError

    def post(self) -> tuple[bytes, str]:
        """Return content and type of the answer to a POST request."""
        raise NotImplementedError

    def body(self, kind: str, most: int) -> bytes:
        """Read the body of the request.

        Args:
            kind (str): the type that it must have. Choose one that a page of another site may only send after asking
                for permission (a CORS preflight), since such questions get no answer here.
            most (int): greatest length in bytes.

        Raises:
            Refused: if the body has another type, is too long, or has no stated length.
        """
        length = self.headers.get('Content-Length', '')
        if self.headers.get_content_type() != kind:
            raise Refused(415, f'the type of the request must be {kind}')
        if not re.fullmatch(r'\d{1,15}', length):
            raise Refused(411, 'the request does not tell its length')
        if int(length) > most:
            raise Refused(413, f'this is too large: it has {int(length):,} bytes, and at most {most:,} are taken; '
                          'make it smaller')
        return self.rfile.read(int(length))

    def answer(self, work: Callable[[], tuple[bytes, str]]) -> None:
        """Send what ``work`` returns, or what went wrong."""
        status, text = 200, ''
        try:
            data, kind = work()
        except Refused as error:
            status, text = error.status, str(error)
        except (ValueError, KeyError, OSError) as error:
            status, text = 400, sentence(error)
        except Exception:
            traceback.print_exc()
            status, text = 500, 'a fault of the program: the window that it runs in says more'
        if text:
            self.log_error('%s: %s', self.path, text)
            data, kind = as_json(dict(error=text))
        self.send_response(status)
        for name, value in {'Content-Type': kind, 'Content-Length': str(len(data)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer(self.get)

    def do_POST(self) -> None:
        self.answer(self.post)


def as_json(content: object) -> tuple[bytes, str]:
    """Return content and type of an answer in json."""
    return json.dumps(content).encode(), 'application/json'


def make_server(handler: type[Handler], host: str = '127.0.0.1', port: int = 0, **state) -> ThreadingHTTPServer:
    """Make a server that is not running yet; with port 0, it gets a free port.

    Args:
        handler (type[Handler]): class whose ``get`` and ``post`` answer the requests.
        host (str): address to serve at.
        port (int): port to serve at.
        **state: class attributes for the handler, since every request gets a new instance of it.

    Raises:
        ValueError: if nothing can be served there.
    """
    try:
        return ThreadingHTTPServer((host, port), type(handler.__name__, (handler, ), state))
    except OSError as error:
        raise ValueError(f'nothing can be served at {host}:{port} ({error}); another one is --port '
                         f'{port % 60000 + 1}') from None
