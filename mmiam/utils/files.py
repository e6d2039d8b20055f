"""Files: written completely or not at all, text from any editor, json and arrays with errors that name the file."""
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

#: limit for all arrays of a file when unpacked; a larger file is damaged, or made to exhaust memory (our choice)
MAX_BYTES = 2**31
_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))
_PAIR = re.compile(r'/?JPEGImages/([^/]+)\.\w+\s+/?\w+/[^/]+\.\w+')
_FLAGGED = re.compile(r'(.*\S)\s+(-?[01])')


class CannotWrite(OSError):
    """Error for a file that cannot be written where no other file could be either; the text says what to do."""

    def __str__(self) -> str:
        return (f'{self.filename} cannot be written ({self.strerror}): make room, or choose a folder that you may '
                'write to, and start again; what is finished is kept')


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name in the same folder, then rename it: readers never see half a file.

    Missing parent folders are created. The temporary name is unique, even among machines that share the disk.

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
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp lets only the owner read
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror or str(error), str(path)) from error


def write_json(path: str | Path, content: object, indent: int | None = None) -> None:
    """Write plain values as json (UTF-8, compact without ``indent``) with :func:`atomic_write`."""
    separators = (',', ':') if indent is None else None
    atomic_write(path, json.dumps(content, indent=indent, separators=separators).encode())


def read_json(path: str | Path, remedy: str = 'export or download it again') -> object:
    """Read a json file, with or without a byte order mark.

    Args:
        path (str | Path): The file.
        remedy (str): What to do about a broken file, for the message.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not json; the message names the file, the cause and the remedy.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # not json, not text, thousands of digits; or nested too deeply
        raise ValueError(f'{path} is truncated, or not json ({error}); {remedy}') from error


def is_count(value) -> bool:
    """Tell whether a value of a json file is a non-negative integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value) -> bool:
    """Tell whether a value of a json file is a finite number that fits into a float."""
    return isinstance(value, (int, float)) and abs(value) < 1e300  # false for NaN


@contextmanager
def naming(path: str | Path, what: str = '') -> Iterator[None]:
    """Turn any error over the content of a file that others wrote into a ValueError that names the file.

    ``what`` precedes the cause. An OSError, ValueError or ImportError that already names the file passes unchanged.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError, ImportError)) and str(path) in str(error):
            raise
        cause = f'no key {error.args[0]!r}' if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ValueError(f'{path}: {what}{cause}') from error


def file_stamp(path: str | Path) -> tuple[int, int] | None:
    """Return the size in bytes and the modification time in nanoseconds of a file, or None if it does not exist.

    A changed stamp reveals that the file was replaced by another one of the same name.
    """
    if not os.path.isfile(path):
        return None
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark.

    The byte order mark, which editors on Windows write, is not part of the text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not text in one of these encodings; the message names the file.
    """
    data = Path(path).read_bytes()
    coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), 'utf-8')
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no text in UTF-8 ({error}); save it as UTF-8') from error
    if '\0' in text:  # UTF-16 or UTF-32 without a byte order mark
        raise ValueError(f'{path} is no text in UTF-8 (it has bytes of zero); save it as UTF-8')
    return text


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without surrounding whitespace) for each line of a text file that is not blank.
    """
    for number, line in enumerate(re.split('\r\n|\n|\r', read_text(path)), 1):
        if line.strip():
            yield number, line.strip()


def read_ids(path: str | Path) -> list[str]:
    """Read the names in a list of images, one per line, in order; a name may contain spaces.

    Two kinds of VOC lists have more on each line, of which only the id is kept: pairs such as
    ``/JPEGImages/a.jpg /SegmentationClassAug/a.png`` (train_aug) and the lists of a class (``ImageSets/Main``: id and
    1, 0 or -1). A list counts as one of a class only if every line ends in a flag and at least one in -1, because
    "photo 1" may be a name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names no image, or the same image twice.
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
    """Write arrays as ``.npz`` with :func:`atomic_write`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    atomic_write(path, buffer.getvalue())


def read_arrays(path: str | Path, check: Callable[[dict[str, tuple[int, ...]]], object] | None = None
                ) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file. Nothing is ever unpickled.

    Args:
        path (str | Path): The file.
        check (callable, optional): Called with a dict of name -> shape, as the file states them, before any array is
            created; raises a ValueError if it does not accept them.

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
    # zipfile and numpy raise all kinds of errors on a damaged file
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
    """Read the shape in a member's header and check that the member has exactly that many bytes."""
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
