"""Downloads over HTTP(S) by pooch: complete and with the sha256 known beforehand, or not at all."""
from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.parse
from pathlib import Path

import pooch
import requests
from filelock import FileLock

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.+\-]*')
_ATTEMPTS = 3  # attempts at a transfer that breaks off, within one call
_TIMEOUT = 30.  # seconds without receiving a byte


def cache_folder() -> Path:
    """Return the folder for downloads: ``$MMIAM_CACHE``, or else the system's cache folder.

    On Linux the latter is ``$XDG_CACHE_HOME/mmiam``, usually ``~/.cache/mmiam``.
    """
    return Path(os.environ.get('MMIAM_CACHE') or pooch.os_cache('mmiam')).expanduser()


def file_name(url: str) -> str:
    """Return the last part of a URL's path, which must be a plain file name.

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
    """Download a file unless a verified local copy exists already.

    Args:
        url (str): an http or https address that ends with the file's name, optionally followed by ``#sha256=...``.
        sha256 (str, optional): expected checksum. By default the one in the address, or the first eight digits in a
            name like ``model-1a2b3c4d.pth``.
        folder (str | Path, optional): destination. Defaults to a subfolder of :func:`cache_folder` for this address,
            so that files of the same name from two places do not collide.
        progress (bool): whether to show a progress bar.

    Returns:
        str: path of the file.

    Raises:
        ValueError: if the address is invalid, no sha256 is known, or the file has a different one (the file is then
            removed).
        OSError: if there is no connection, no such file, or no space.
    """
    url, _, fragment = url.partition('#')
    name = file_name(url)
    sha256 = sha256 or (fragment[len('sha256='):] if fragment.startswith('sha256=') else None)
    if sha256 is not None and not re.fullmatch(r'[0-9a-fA-F]{64}', sha256):
        raise ValueError(f'sha256 of {name} must be 64 hexadecimal digits, got {sha256!r}')
    stated = re.search(r'[-_]([0-9a-f]{8})\.pth$', name)  # how names of mmdet and torchvision end
    if sha256 is None and stated is None:
        raise ValueError(f'{url}: no sha256 of this file is known, so nobody could tell a damaged or altered one; '
                         'write it behind the address (#sha256=...), or fetch the file yourself and give its path')
    expected = sha256.lower() if sha256 else stated[1]  # type: ignore[index]
    folder = Path(folder) if folder is not None else cache_folder() / hashlib.sha256(url.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with FileLock(folder / f'{name}.lock'):  # one process of a training at a time
        if not (target.is_file() and pooch.file_hash(target).startswith(expected)):
            with tempfile.TemporaryDirectory(prefix=f'.{name}.', dir=folder) as inner:
                part = Path(inner) / name
                _transfer(url, part, progress)
                found = pooch.file_hash(part)
                if not found.startswith(expected):
                    raise ValueError(f'{url} has the sha256 {found}, expected {expected}: the file was altered or the '
                                     'transfer was damaged. It was removed; try again, and do not use it if this '
                                     'repeats')
                os.replace(part, target)
    return str(target)


def _transfer(url: str, part: Path, progress: bool) -> None:
    """Download an address to a file; a transfer that breaks off is tried again.

    Raises:
        OSError: with advice on what to do.
    """
    download = pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT, headers={'User-Agent': 'mmiam'})
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            download(url, str(part), None)
            return
        except requests.HTTPError as error:
            raise OSError(f'{url}: the server answers {error.response.status_code} {error.response.reason}; check the '
                          'address') from None
        except requests.ConnectionError as error:
            raise OSError(f'{url} cannot be reached ({error}); check the network, or fetch the file elsewhere and give '
                          'its path') from None
        except requests.RequestException as error:
            if attempt == _ATTEMPTS:
                raise OSError(f'{url} broke off {_ATTEMPTS} times ({error}); run the same command again') from None
