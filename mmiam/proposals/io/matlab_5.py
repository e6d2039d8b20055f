"""Reader for MATLAB files of versions 5 to 7.

scipy's reader is compiled code that trusts the sizes stated in a file: one flipped byte can kill the whole process.
Here, every element is cut out of its container before anything in it is read, so that no size can lead out of the file.

Legend: a file is a header of 128 bytes, followed by elements, each a tag (type, size in bytes) and its data, padded to
8 bytes. An array is an element of type 14 that contains elements: flags, dimensions, name, content.
"""
from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from mmiam.utils.files import MAX_BYTES

_HEADER = 128
MAX_DEPTH = 8  # arrays inside cells inside structs
_MATRIX, _COMPRESSED = 14, 15
#: element type -> NumPy's type of its values
_NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_CELL, _STRUCT, _NUMERIC, _OPAQUE = 1, 2, range(6, 16), 17


def is_matlab_5(head: bytes) -> bool:
    """Return whether a file that begins like this is of versions 5 to 7; version 4 has no such header."""
    return head[126:_HEADER] in (b'IM', b'MI')


def read_matlab_5(data: bytes) -> dict:
    """Read the variables of a file, by name.

    Args:
        data (bytes): the whole file.

    Returns:
        dict: arrays of numbers as ndarray, cells as lists (column by column), structs as dictionaries, and None for
        anything else (texts, sparse arrays, objects, functions, several structs in an array). Variables without a name
        are left out.

    Raises:
        ValueError: if a size, type or dimension contradicts the file, or two variables have one name.
    """
    order = '<' if data[126:_HEADER] == b'IM' else '>'
    variables: dict = {}
    for kind, body in _elements(memoryview(data)[_HEADER:], order):
        if kind == _COMPRESSED:
            kind, body = next(_elements(memoryview(_inflate(body)), order), (0, body))
        if kind != _MATRIX:
            raise ValueError(f'an element of type {kind}, where a variable is expected')
        name, value = _array(body, order, 0)
        if name in variables:
            raise ValueError(f'two variables are called {name!r}')
        if name:  # MATLAB's own have none
            variables[name] = value
    return variables


def _inflate(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f'damaged compressed data ({error})') from error
    if not stream.eof:
        raise ValueError('compressed data that ends too early or grows beyond 2 GiB')
    return body


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, data) of one element after another."""
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise ValueError(f'the file ends within an element, {len(data) - position} bytes after its begin')
        kind, size = struct.unpack_from(order + 'II', data, position)
        start, most = position + 8, len(data) - position - 8
        padding = 0 if kind == _COMPRESSED else -size % 8
        if kind >> 16:  # the small form: size and type in four bytes, and data in the next four
            kind, size = kind & 0xffff, kind >> 16
            start, most, padding = position + 4, 4, 4 - size
        if size > most:
            raise ValueError(f'an element of {size} bytes leaves what holds it, which has {most} left')
        yield kind, data[start:start + size]
        position = start + size + padding


def _take(elements: Iterator[tuple[int, memoryview]], kinds: tuple[int, ...], what: str) -> memoryview:
    """Return the data of the next element, which must be of one of the types."""
    kind, data = next(elements, (0, memoryview(b'')))
    if kind not in kinds:
        raise ValueError(f'an array without {what}: an element of type {kind} is in its place')
    return data


def _array(data: memoryview, order: str, depth: int) -> tuple[str, object]:
    """Read name and value of an array."""
    if not len(data):  # an empty array may have no content at all
        return '', np.zeros((0, 0))
    if depth > MAX_DEPTH:
        raise ValueError(f'arrays nested more than {MAX_DEPTH} deep')
    elements = _elements(data, order)
    flags = struct.unpack_from(order + 'I', _take(elements, (6, ), 'flags'))[0]
    array_class = flags & 0xff
    if array_class == _OPAQUE:  # has neither dimensions nor name
        return '', None
    sides = np.frombuffer(_take(elements, (5, ), 'dimensions'), order + 'i4').tolist()
    if len(sides) < 2 or min(sides) < 0:
        raise ValueError(f'an array of the sides {sides}')
    name = bytes(_take(elements, (1, 2, 16), 'a name')).decode('latin1')
    count = math.prod(sides)
    if array_class == _CELL:
        return name, _arrays(elements, count, order, depth)
    if array_class == _STRUCT:
        return name, _struct(elements, count, order, depth)
    if array_class in _NUMERIC:
        return name, _numbers(elements, sides, order)
    return name, None


def _arrays(elements: Iterator[tuple[int, memoryview]], count: int, order: str, depth: int) -> list:
    """Read the arrays in a cell or struct; if fewer follow than stated, this fails at the first missing one."""
    return [_array(_take(elements, (_MATRIX, ), f'{count} arrays in it'), order, depth + 1)[1] for _ in range(count)]


def _struct(elements: Iterator[tuple[int, memoryview]], count: int, order: str, depth: int) -> dict | None:
    length = struct.unpack_from(order + 'i', _take(elements, (5, ), 'the length of its names'))[0]
    names = bytes(_take(elements, (1, ), 'names of its fields'))
    if length < 1 or len(names) % length:
        raise ValueError(f'a struct whose {len(names)} bytes of names are {length} bytes each')
    fields = [names[i:i + length].partition(b'\0')[0].decode('latin1') for i in range(0, len(names), length)]
    return dict(zip(fields, _arrays(elements, len(fields), order, depth))) if count == 1 else None


def _numbers(elements: Iterator[tuple[int, memoryview]], sides: list[int], order: str) -> np.ndarray:
    """Read real numbers, (rows, columns, …); the imaginary part, which would follow, is not read."""
    kind, data = next(elements, (0, memoryview(b'')))
    count = math.prod(sides)
    if kind not in _NUMBERS or len(data) != count * np.dtype(_NUMBERS[kind]).itemsize:
        raise ValueError(f'{len(data)} bytes of type {kind} for an array of {count} values')
    return np.frombuffer(data, order + _NUMBERS[kind]).reshape(sides, order='F')
