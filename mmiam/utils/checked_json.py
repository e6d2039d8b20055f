"""Json objects with a checksum in front: without it, one flipped bit in a file would silently give other masks."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .files import atomic_write

_HEAD = b'{"sha256":"'
_DIGITS = slice(len(_HEAD), len(_HEAD) + 64)
_BODY = slice(len(_HEAD) + 64 + 2, None)


def write_checked_json(path: str | Path, content: dict) -> None:
    """Write an object with at least one key as compact json.

    Its first key is ``sha256``, the checksum of all bytes that follow.
    """
    body = json.dumps(content, separators=(',', ':')).encode()[1:]
    atomic_write(path, _HEAD + hashlib.sha256(body).hexdigest().encode() + b'",' + body)


def read_checked_json(path: str | Path) -> dict:
    """Read a file written by :func:`write_checked_json`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is anything else, or a byte of it has changed.
    """
    data = Path(path).read_bytes()
    if not data.startswith(_HEAD) or data[_DIGITS].decode('latin-1') != hashlib.sha256(data[_BODY]).hexdigest():
        raise ValueError(f'{path} is damaged: its check sum (sha256) is missing or another')
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is damaged ({error})') from None
    del content['sha256']
    return content
