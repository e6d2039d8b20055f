"""Fetching files over HTTP(S): checked, resumable, never half there under their final name.

A file is written to ``<name>.part`` in the folder where it belongs; what a broken transfer left there is completed
by the next one (HTTP Range). Only a whole file of the right sha256 is renamed to its own name.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmiam.utils.files import sha256_of

_CHUNK = 1 << 18
_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+\-]*')
_ATTEMPTS = 3  # a transfer that breaks off is continued this often within one call
_TIMEOUT = 30.  # seconds without a byte


def cache_folder() -> Path:
    """Where downloads are kept: ``$MMIAM_CACHE``, else ``$XDG_CACHE_HOME/mmiam``, else ``~/.cache/mmiam``."""
    given = os.environ.get('MMIAM_CACHE')
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'mmiam'


def file_name(url: str) -> str:
    """The last part of a URL's path, if it is a plain file name.

    Raises:
        ValueError: if the URL is not HTTP(S), or its last part could lead out of the folder.
    """
    parts = urllib.parse.urlsplit(url)
    name = urllib.parse.unquote(parts.path).rsplit('/', 1)[-1]
    if parts.scheme not in ('http', 'https') or not parts.netloc:
        raise ValueError(f'{url!r} is no http or https address')
    if not _NAME.fullmatch(name) or name.endswith(('.part', '.lock')):
        raise ValueError(f'{url!r} does not end with a plain file name (letters, digits, . _ + -)')
    return name


def fetch(url: str, sha256: str | None = None, folder: str | Path | None = None, progress: bool = True) -> str:
    """A local copy of a file; nothing is transferred if it is there already.

    Args:
        url (str): an http or https address that ends with the file's name.
        sha256 (str, optional): what the file must have. Without it the first eight digits are taken from a name
            like ``model-1a2b3c4d.pth``, if it ends so; otherwise only the length is checked.
        folder (str | Path, optional): where to. Defaults to :func:`cache_folder`, below a folder of the address, so
            that files of the same name from two places do not meet.
        progress (bool): show a bar.

    Returns:
        str: path of the file.

    Raises:
        ValueError: if the address is none, or the file has another sha256 (it is removed).
        OSError: if there is no connection, no such file, or no space; what was received is kept for the next call.
    """
    name = file_name(url)
    if sha256 is not None and not re.fullmatch(r'[0-9a-fA-F]{64}', sha256):
        raise ValueError(f'sha256 of {name} must be 64 hexadecimal digits, got {sha256!r}')
    if folder is None:
        folder = cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:12]
    expected = sha256.lower() if sha256 else _hash_in_name(name)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with _locked(folder / f'{name}.lock'):
        if target.is_file() and (expected is None or sha256_of(target).startswith(expected)):
            return str(target)
        part = folder / f'{name}.part'
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _transfer(url, part, progress)
                break
            except _BrokenOff as error:
                if attempt == _ATTEMPTS:
                    raise OSError(f'{error}; run the same command again, it goes on from there') from None
        found = sha256_of(part)
        if expected is not None and not found.startswith(expected):
            part.unlink()
            raise ValueError(f'{url} has the sha256 {found}, expected {expected}: the file was altered or the '
                             'transfer was damaged. It was removed; try again, and do not use it if this repeats')
        os.replace(part, target)
    return str(target)


def _hash_in_name(name: str) -> str | None:
    """The digits at the end of a published name (``model-1a2b3c4d.pth``), as mmdet's and torchvision's have them."""
    found = re.search(r'[-_]([0-9a-f]{8})\.pth$', name)
    return found.group(1) if found else None


class _BrokenOff(OSError):
    """The transfer stopped before its end."""


def _transfer(url: str, part: Path, progress: bool) -> None:
    """Complete ``part`` from ``url``.

    Raises:
        _BrokenOff: if the connection broke off in the middle.
        OSError: for everything that trying again at once would not mend.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {'User-Agent': 'mmiam'}
    if have:
        headers['Range'] = f'bytes={have}-'
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send, or the file on the server is another one
            if have and error.headers.get('Content-Range', '') == f'bytes */{have}':
                return
            part.unlink()
            raise _BrokenOff(f'{url}: the started file {part} did not fit and was removed') from None
        raise OSError(f'{url}: the server answers {error.code} {error.reason}; check the address') from None
    except urllib.error.URLError as error:
        raise OSError(f'{url} cannot be reached ({error.reason}); check the network, or fetch the file elsewhere and '
                      'give its path') from None
    except OSError as error:
        raise _BrokenOff(f'{url}: no answer ({error})') from None
    with response:
        if response.status != 206 or not response.headers.get('Content-Range', '').startswith(f'bytes {have}-'):
            have = 0  # the server sends the whole file
        length = response.headers.get('Content-Length')
        total = have + int(length) if length and length.isdigit() else None
        _check_space(part, total, have)
        _receive(response, url, part, have, total, progress)


def _check_space(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise OSError(f'no space: {part.parent} has {free / 1e6:.1f} MB free, {(total - have) / 1e6:.1f} MB are '
                      'needed; make room, or choose another folder')


def _receive(response, url: str, part: Path, have: int, total: int | None, progress: bool) -> None:
    """Write the body of a response behind the ``have`` bytes of ``part``."""
    import http.client
    with _bar(part.stem, have, total, progress) as advance:
        try:
            with open(part, 'r+b' if have else 'wb') as file:
                file.seek(have)
                while True:
                    try:
                        data = response.read(_CHUNK)
                    except http.client.IncompleteRead as error:
                        data = error.partial
                        file.write(data)
                        have += len(data)
                        break
                    except (OSError, http.client.HTTPException) as error:
                        raise _BrokenOff(f'{url} broke off after {have} bytes ({error})') from None
                    if not data:
                        break
                    file.write(data)
                    have += len(data)
                    advance(len(data))
        except _BrokenOff:
            raise
        except OSError as error:
            raise OSError(f'{part} cannot be written ({error.strerror or error}); make room, or choose another '
                          'folder') from None
    if total is not None and have < total:
        raise _BrokenOff(f'{url} broke off after {have} of {total} bytes')


@contextmanager
def _bar(title: str, have: int, total: int | None, shown: bool) -> Iterator:
    """A progress bar in bytes; gives the function that moves it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    columns = (TextColumn('{task.description}'), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task(title, total=total, completed=have)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time (of one training, say); without effect where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
