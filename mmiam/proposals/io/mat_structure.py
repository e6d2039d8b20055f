"""A look at the skeleton of a MATLAB 5 file before scipy reads it.

scipy's reader is compiled code that trusts the sizes a file states: one flipped byte can end the whole process. Here
only tags, sizes and dimensions are followed, no value is read.

Legend: a file is a header of 128 bytes and elements, each a tag (type, size in bytes) and its data, padded to 8 bytes.
An array is an element of type 14 that holds elements: flags, dimensions, name, content.
"""
from __future__ import annotations

import math
import struct
import zlib

from mmiam.utils.files import MAX_BYTES

_HEADER = 128
MAX_DEPTH = 8  # arrays inside cells inside structs
#: bytes that one byte of deflated data can stand for, at the most
MAX_RATIO = 1032
_MATRIX, _COMPRESSED = 14, 15
#: bytes of a value by element type
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_TEXT_TYPES = {1, 2, 3, 4, 5, 16, 17, 18}
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_READ = (_CELL, _STRUCT, _CHAR, *range(6, 16))


def checked_variables(data: bytes) -> list[str] | None:
    """Names of the variables whose skeleton is whole and that are cells, structs, texts or numbers.

    Args:
        data (bytes): the whole file.

    Returns:
        list[str] | None: the names; None if the file is of version 4, which has no such skeleton.

    Raises:
        ValueError: if a size, type or dimension contradicts the file, or two variables have one name; it says where.
    """
    if len(data) < _HEADER or data[126:128] not in (b'IM', b'MI'):
        return None
    order = '<' if data[126:128] == b'IM' else '>'
    names, every, position = [], set(), _HEADER
    while position < len(data):
        kind, start, end, following = _element(data, position, len(data), order)
        body = data
        if kind == _COMPRESSED:
            body = _inflate(data[start:end])
            kind, start, end, _ = _element(body, 0, len(body), order)
            following = position + 8 + struct.unpack_from(order + 'I', data, position + 4)[0]  # not padded
        if kind != _MATRIX:
            raise ValueError(f'element of type {kind} at byte {position}, where a variable is expected')
        name, is_read = _matrix(body, start, end, order, 0)
        if name in every:  # scipy finds them by name, and would read the one that nobody looked at
            raise ValueError(f'two variables are called {name!r}')
        every.add(name)
        if name and is_read:
            names.append(name)
        position = following
    return names


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f'damaged compressed data ({error})') from error
    if not stream.eof:
        raise ValueError('compressed data that ends too early or grows beyond 2 GiB')
    return body


def _element(data: bytes, position: int, limit: int, order: str) -> tuple[int, int, int, int]:
    """(type, first byte, last byte + 1 of the data, first byte of the next element)."""
    if position + 8 > limit:
        raise ValueError(f'the file ends within an element at byte {position}')
    kind, size = struct.unpack_from(order + 'II', data, position)
    if kind >> 16:  # the small form: size and type in four bytes, data in the next four
        kind, size = kind & 0xffff, kind >> 16
        if size > 4:
            raise ValueError(f'a short element of {size} bytes at byte {position}')
        return kind, position + 4, position + 4 + size, position + 8
    end = position + 8 + size
    if end > limit:
        raise ValueError(f'an element of {size} bytes at byte {position} leaves what holds it')
    return kind, position + 8, end, min(end + (-size % 8), limit)


def _matrix(data: bytes, position: int, limit: int, order: str, depth: int) -> tuple[str, bool]:
    """Follows one array: its name, and whether it is of a kind that is read (not sparse, object, function)."""
    if position == limit:  # an empty array may have no content at all
        return '', True
    if depth > MAX_DEPTH:
        raise ValueError(f'arrays nested more than {MAX_DEPTH} deep')
    kind, start, end, position = _element(data, position, limit, order)
    if kind != 6 or end - start != 8:
        raise ValueError(f'an array without flags at byte {start}')
    flags = struct.unpack_from(order + 'I', data, start)[0]
    array_class, is_complex = flags & 0xff, bool(flags & 0x800)
    if depth and array_class not in _READ:
        raise ValueError(f'a cell or struct holds an array of class {array_class}, which is not read')
    if array_class == _OPAQUE:  # has neither dimensions nor name; scipy calls it so
        return 'None', False
    kind, start, end, position = _element(data, position, limit, order)
    if kind != 5 or (end - start) % 4 or not 8 <= end - start <= 32:
        raise ValueError(f'an array without dimensions at byte {start}')
    sides = struct.unpack_from(f'{order}{(end - start) // 4}i', data, start)
    if min(sides) < 0:
        raise ValueError(f'an array of the sides {sides}')
    kind, start, end, position = _element(data, position, limit, order)
    if kind not in (1, 2, 16):
        raise ValueError(f'an array without a name at byte {start}')
    name = data[start:end].decode('latin1')
    count = math.prod(sides)
    if array_class not in _READ:
        return name, False
    if array_class in (_CELL, _STRUCT):
        _holder(data, position, limit, order, depth, count, array_class == _STRUCT)
    else:
        for _ in range(1 + is_complex):
            position = _values(data, position, limit, order, count, array_class == _CHAR)
    return name, True


def _holder(data: bytes, position: int, limit: int, order: str, depth: int, count: int, is_struct: bool) -> None:
    """Follows the arrays of a cell, or of a struct after the names of its fields."""
    if is_struct:
        kind, start, end, position = _element(data, position, limit, order)
        length = struct.unpack_from(order + 'i', data, start)[0] if kind == 5 and end - start == 4 else 0
        kind, start, end, position = _element(data, position, limit, order)
        if length < 1 or kind != 1 or (end - start) % length:
            raise ValueError(f'a struct without names of its fields at byte {start}')
        count *= (end - start) // length
    for _ in range(count):
        kind, start, end, position = _element(data, position, limit, order)
        if kind != _MATRIX:
            raise ValueError(f'element of type {kind} at byte {start}, where an array is expected')
        _matrix(data, start, end, order, depth + 1)


def _values(data: bytes, position: int, limit: int, order: str, count: int, is_text: bool) -> int:
    """Follows the numbers or letters of an array; the position behind them."""
    kind, start, end, position = _element(data, position, limit, order)
    if is_text:
        if kind not in _TEXT_TYPES or end - start < count:  # a letter takes a byte or more; scipy would add the rest
            raise ValueError(f'{end - start} bytes of type {kind} at byte {start} for a text of {count} letters')
    elif kind not in _ITEM_BYTES or end - start != count * _ITEM_BYTES[kind]:
        raise ValueError(f'{end - start} bytes of type {kind} at byte {start} for an array of {count} values')
    return position
