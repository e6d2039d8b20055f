"""Files: written whole or not at all, text whatever editor saved it, json and arrays with errors that name the file."""
from __future__ import annotations

import codecs
import io
import json
import math
import os
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

#: of all arrays of a file when unpacked; more is a damaged file, or one made to fill the memory (our choice)
MAX_BYTES = 2**31
_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))
_PAIR = re.compile(r'/?JPEGImages/([^/]+)\.\w+\s+/?\w+/[^/]+\.\w+')
_FLAGGED = re.compile(r'(.*\S)\s+(-?[01])')


class CannotWrite(OSError):
    """A file cannot be written, and others in its place cannot be expected to; the text says what to do."""

    def __str__(self) -> str:
        return (f'{self.filename} cannot be written ({self.strerror}): make room, or choose a folder that you may '
                'write to, and start again; what is finished is kept')


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write bytes to a temporary name in the same folder, then rename: readers never see half a file.

    Folders above are made. The temporary name is unique, also between machines that share the disk.

    Raises:
        CannotWrite: if the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f'.{path.name[:50]}.', suffix='.tmp', dir=path.parent)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp lets nobody else read
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror or str(error), str(path)) from error


def write_json(path: str | Path, content: object, indent: int | None = None) -> None:
    """Write plain values as json (UTF-8), compact without ``indent``, as :func:`atomic_write` does."""
    separators = (',', ':') if indent is None else None
    atomic_write(path, json.dumps(content, indent=indent, separators=separators).encode())


def read_json(path: str | Path, remedy: str = 'export or download it again') -> object:
    """Content of a json file, with or without byte order mark.

    Args:
        path (str | Path): The file.
        remedy (str): What to do about a broken one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no json; the message names file, cause and remedy.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # no json, no text, thousands of digits; nested without end
        raise ValueError(f'{path} is truncated, or not json ({error}); {remedy}') from error


def is_count(value) -> bool:
    """Whether a value of a json file is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value) -> bool:
    """Whether a value of a json file is a finite number that fits a float."""
    return isinstance(value, (int, float)) and abs(value) < 1e300  # NaN is not below


@contextmanager
def naming(path: str | Path, what: str = '') -> Iterator[None]:
    """What goes wrong with the content of a file that others wrote becomes a ValueError that names the file.

    ``what`` comes before the cause. Errors that name it already, and those of files that cannot be opened, pass.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError, ImportError)) and str(path) in str(error):
            raise
        cause = f'no key {error.args[0]!r}' if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ValueError(f'{path}: {what}{cause}') from error


def file_stamp(path: str | Path) -> tuple[int, int] | None:
    """Size in bytes and date in nanoseconds of a file, by which another one under its name is told; None without."""
    if not os.path.isfile(path):
        return None
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def read_text(path: str | Path) -> str:
    """Text of a file in UTF-8, or in UTF-16 with its mark; the byte order mark that Windows' editors write is no text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such text; the message names the file.
    """
    data = Path(path).read_bytes()
    coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), 'utf-8')
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no text in UTF-8 ({error}); save it as UTF-8') from error
    if '\0' in text:  # UTF-16 or UTF-32 without their mark
        raise ValueError(f'{path} is no text in UTF-8 (it has bytes of zero); save it as UTF-8')
    return text


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without blanks around it) of each line of a text file that is not blank."""
    for number, line in enumerate(re.split('\r\n|\n|\r', read_text(path)), 1):
        if line.strip():
            yield number, line.strip()


def read_ids(path: str | Path) -> list[str]:
    """Names in a list of images, one a line, in order; a name may hold blanks.

    Two forms of VOC's lists have more in a line: ``/JPEGImages/a.jpg /SegmentationClassAug/a.png`` (train_aug) gives
    the id alone, and so do the lines of a class (``ImageSets/Main``: id and 1, 0 or -1). A list is taken for one of a
    class if all its lines end in a flag and one in -1: "photo 1" is a name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names no image, or one twice.
    """
    lines = [line for _, line in read_lines(path)]
    pairs = [_PAIR.fullmatch(line) for line in lines]
    flags = [_FLAGGED.fullmatch(line) for line in lines]
    if all(flags) and any(flag and flag.group(2) == '-1' for flag in flags):
        pairs = flags
    ids = [pair.group(1) if pair else line for pair, line in zip(pairs, lines)]
    if not ids:
        raise ValueError(f'{path} names no image; write one a line')
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f'{path} names {twice[0]!r} more than once ({len(twice)} such names); remove the repetitions')
    return ids


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``.npz``, as :func:`atomic_write` does."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    atomic_write(path, buffer.getvalue())


def read_arrays(path: str | Path, check: Callable[[dict[str, tuple[int, ...]]], object] | None = None
                ) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file. Nothing is ever unpickled.

    Args:
        path (str | Path): The file.
        check (callable, optional): Given name -> shape as the file states them, before any array is made; raises a
            ValueError for what it does not want.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, holds anything but plain arrays, or unpacks to more than
            ``MAX_BYTES``; the message names file and cause.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no file {path}')
    if not os.path.getsize(path):
        raise ValueError(f'{path}: the file is empty')
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path}: truncated, or not an .npz file')
    # zipfile and numpy raise whatever they stumble over in a damaged file
    with naming(path, 'truncated, or not an .npz of plain arrays: '), zipfile.ZipFile(path) as archive:
        members = {info.filename: info.file_size for info in archive.infolist()}
        shapes = {name[:-len('.npy')]: _stated_shape(archive, name, size) for name, size in members.items()}
    if sum(members.values()) > MAX_BYTES:
        raise ValueError(f'{path}: {sum(members.values())} bytes when unpacked; more than {MAX_BYTES} are not read')
    if check is not None:
        with naming(path):
            check(shapes)
    with naming(path, 'truncated, or not an .npz of plain arrays: '), np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in shapes}


def _stated_shape(archive: zipfile.ZipFile, name: str, size: int) -> tuple[int, ...]:
    """Shape in the head of a member, which must have as many bytes as that takes."""
    if not name.endswith('.npy'):
        raise ValueError(f'{name!r} in it is no array')
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f'{name!r} holds objects (a pickle)')
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
            raise ValueError(f'{name!r} states {shape} values of {dtype} in {size} bytes')
        return shape
