"""What servers of a page or a protocol share: requests of bounded length, and errors as one sentence in json."""
from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mmiam.apis.options import sentence

#: of every answer; a page may run its own script and style, and load and send nothing elsewhere
HEADERS = {
    'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Content-Security-Policy':
    "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}


class Refused(Exception):
    """Carries the status of a request that is not answered, beside the sentence for the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers with what :meth:`get` or :meth:`post` returns, the content and its type; what a user can mend becomes one
    sentence in ``error``.

    It speaks HTTP/1.0, where an answer ends the connection: so what was not read of a request is not the next one.
    """
    server: Any
    timeout = 60  # seconds that a silent connection is waited for

    def get(self) -> tuple[bytes, str]:
        """Of a GET request."""
        raise NotImplementedError

    def post(self) -> tuple[bytes, str]:
        """Of a POST request."""
        raise NotImplementedError

    def body(self, kind: str, most: int) -> bytes:
        """What was sent.

        Args:
            kind (str): the type that it must have: one that a foreign page may not send without asking first, and
                asking is not answered.
            most (int): bytes.

        Raises:
            Refused: if it is of another type, too long, or does not tell its length.
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
        """Send what ``work`` gives, or what is wrong."""
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
    """Content and type of an answer in json."""
    return json.dumps(content).encode(), 'application/json'


def make_server(handler: type[Handler], host: str = '127.0.0.1', port: int = 0, **state) -> ThreadingHTTPServer:
    """A server that is not running yet; with port 0 at a free one.

    Args:
        **state: attributes of the handler, of which there is a new one a request.

    Raises:
        ValueError: if nothing can be served there.
    """
    try:
        return ThreadingHTTPServer((host, port), type(handler.__name__, (handler, ), state))
    except OSError as error:
        raise ValueError(f'nothing can be served at {host}:{port} ({error}); another one is --port '
                         f'{port % 60000 + 1}') from None
