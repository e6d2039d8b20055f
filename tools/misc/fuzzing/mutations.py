"""Damage to valid files: plain, and below what guards it (the members of an archive, the checksums of a PNG, json)."""
from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
import re
import struct
import zipfile
import zlib


class Payload:
    """Unpickling it makes a folder, which the watched process notices."""

    def __reduce__(self):
        return os.mkdir, ('payload_ran', )


#: numbers, texts and structures that files do not hold where others are expected
VALUES = [None, True, False, 0, 1, -1, 2, 255, 256, 2**31, 2**32 - 1, 2**63, 10**30, 10**400, 1.5, -0.0, 1e308,
          float('nan'), float('inf'), '', 'cat', '../../outside', '/etc/passwd', '\x00', '\udcff', '9' * 5000, [], {},
          [[]], [0], [1, 2, 3, 4], [float('nan')] * 5, {'size': [10**5, 10**5], 'counts': 'PPYo1'}, {'counts': [-1]}]
TEXTS = [b'-1', b'0', b'9999999999', b'1e400', b'nan', b'inf', b'9' * 5000, b'../../outside', b'/etc/passwd', b'\x00',
         b'\xff\xfe', b'"', b',', b';', b'<!DOCTYPE a [', b'&a;', b'<!ENTITY b SYSTEM "file:///etc/passwd">',
         b'encoding="utf-7"', b'\n', b'[' * 3000, b'{"a":' * 3000, b'\xed\xb3\xbf']
BINARY = [b'\xff' * 4, b'\0' * 4, b'\xff\xff\xff\x7f', b'\0\0\0\x80', b'\xff' * 8, b'\0\0\1\0', b'\x7f',
          pickle.dumps(Payload()), pickle.dumps(Payload(), 2)]


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A damaged copy of a file.

    Args:
        data (bytes): a valid file.
        rng (Random): what decides.
        others (list[bytes]): further files, whose pieces may be put in.
    """
    inner = [_plain]
    if data[:2] == b'PK':
        inner += [_in_archive] * 2
    elif data[:4] == b'\x89PNG':
        inner += [_in_png]
    elif data[:1] in b'[{' and _json(data) is not None:
        inner += [_in_json] * 2
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        try:
            data = rng.choice(inner)(data, rng, others)
        except (ValueError, KeyError, IndexError, struct.error, zipfile.BadZipFile, zlib.error, RecursionError,
                NotImplementedError, RuntimeError, OSError, EOFError):  # too damaged by now for the finer ways
            data = _plain(data, rng, others)
    return data


def _plain(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Bits, pieces and lengths, without regard to what they are."""
    data = bytearray(data)
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64)))
    kind = rng.randrange(8)
    if kind == 0 and data:
        data[start % len(data)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[start:]
    elif kind == 2:
        del data[start:end]
    elif kind == 3:
        data[start:start] = data[start:end] * rng.choice((1, 2, 50))
    elif kind == 4:
        other = rng.choice(others)
        position = rng.randrange(len(other) + 1)
        data[start:end] = other[position:position + rng.choice((4, 32, len(other)))]
    elif kind == 5:
        piece = rng.choice(BINARY)
        data[start:start + len(piece)] = piece
    elif kind == 6:
        data[start:end] = rng.choice(TEXTS)
    else:  # a number or a word of a text
        words = list(re.finditer(rb'[-\w.]+', data[:20000]))
        if words:
            word = rng.choice(words)
            data[word.start():word.end()] = rng.choice((*TEXTS, rng.choice(words).group()))
    return bytes(data)


def _in_archive(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A member of a zip file damaged, renamed, left out or put in twice; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    position = rng.randrange(len(members))
    name, content = members[position]
    kind = rng.randrange(8)
    if kind == 0:
        name = rng.choice(('../../outside.npy', '/outside.npy', '', name + '.npy', rng.choice(members)[0]))
    elif kind == 1:
        members.append((rng.choice(members)[0], rng.choice(members)[1]))
    elif kind == 2:
        content = rng.choice((b'', pickle.dumps(Payload()), rng.choice(others)))
    elif kind == 3:
        content = rng.choice(members)[1]
    else:
        content = _plain(content, rng, others)
    members[position:position + 1] = [] if kind == 4 and len(members) > 1 else [(name, content)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _in_png(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A chunk of a PNG damaged, its checksum right."""
    chunks, position = [], 8
    while position < len(data):
        length, = struct.unpack_from('>I', data, position)
        chunks.append((data[position + 4:position + 8], data[position + 8:position + 8 + length]))
        position += 12 + length
    index = rng.randrange(len(chunks))
    name, content = chunks[index]
    if name == b'IDAT' and rng.random() < .5:
        content = zlib.compress(_plain(zlib.decompress(content), rng, others))
    elif name == b'IHDR' and rng.random() < .5:
        content = struct.pack('>I', rng.choice((0, 1, 9, 30000, 2**31 - 1))) + content[4:]
    else:
        content = _plain(content, rng, others)
    chunks[index:index + 1] = rng.choice(([(name, content)], [(name, content)], [(name, content)] * 2, []))
    return data[:8] + b''.join(
        struct.pack('>I', len(body)) + key + body + struct.pack('>I', zlib.crc32(key + body)) for key, body in chunks)


def _in_json(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A value of a json file replaced, left out or put elsewhere."""
    content = copy.deepcopy(_json(data))
    places = list(_places(content))
    if not places:
        return json.dumps(rng.choice(VALUES)).encode()
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, name = rng.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif kind == 2 and isinstance(holder[key], list):
        holder[key] = holder[key] * 2 + [rng.choice(VALUES)]
    elif kind == 3 and isinstance(holder, dict):
        holder[rng.choice(('size', 'counts', 'id', 'image_id', 'image', 'class', 'labels'))] = holder.pop(key)
    elif isinstance(holder[key], str) and holder[key] and rng.random() < .3:
        start = rng.randrange(len(holder[key]))
        holder[key] = holder[key][:start] + rng.choice('0oaPz~1 /') + holder[key][start + rng.choice((0, 1, 5)):]
    else:
        holder[key] = rng.choice(VALUES)
    return json.dumps(content).encode()


def _json(data: bytes):
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _places(content):
    """(holder, key) of every value below."""
    if isinstance(content, (dict, list)):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _places(content[key])
