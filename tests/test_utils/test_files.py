"""Files that appear whole, text of any editor, lists, json and arrays."""
import errno
import io
import json
import os
import stat
import zipfile
from functools import partial
from unittest import mock

import numpy as np
import pytest

from mmiam.utils import files
from mmiam.utils.files import (
    CannotWrite,
    atomic_write,
    naming,
    read_arrays,
    read_ids,
    read_json,
    write_arrays,
    write_json,
)


@pytest.mark.parametrize('name', ['n' * 200, '\U0001f431' * 60])  # names are limited in bytes
def test_a_file_appears_whole_in_folders_that_are_made(tmp_path, name):
    path = tmp_path / 'new' / f'{name}.json'
    write_json(path, dict(a=[1, 'ü']))
    assert path.read_text() == '{"a":[1,"\\u00fc"]}' and read_json(path) == dict(a=[1, 'ü'])
    assert os.listdir(path.parent) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444 & ~os.umask(os.umask(0o022))


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failed_write_leaves_the_old_file_and_says_what_to_do(tmp_path, code):
    path = tmp_path / 'a.npz'
    path.write_bytes(b'old')
    with mock.patch('os.replace', side_effect=OSError(code, os.strerror(code))):
        with pytest.raises(CannotWrite, match=f'a.npz cannot be written .{os.strerror(code)}.: make room') as error:
            atomic_write(path, b'new')
    assert error.value.errno == code and path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('coding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_text_of_any_editor(tmp_path, coding):
    path = tmp_path / 'list.txt'
    path.write_bytes('Köln_01\r\n\r\nimg (1)\r\n'.encode(coding))
    assert read_ids(path) == ['Köln_01', 'img (1)']
    path.write_bytes(json.dumps(dict(ö=1), ensure_ascii=False).encode(coding))
    assert read_json(path) == dict(ö=1)


@pytest.mark.parametrize('text, ids', [
    ('photo 1\nphoto 0\n', ['photo 1', 'photo 0']),
    ('a 1\nb -1\nimg (2)   0\n', ['a', 'b', 'img (2)']),  # ImageSets/Main: flags
    ('/JPEGImages/im g.jpg /SegmentationClassAug/im g.png\nb\n', ['im g', 'b']),
    ('  #1 \n-001\n2024-05-01T12:30:05\n', ['#1', '-001', '2024-05-01T12:30:05'])])
def test_lists_of_names(tmp_path, text, ids):
    (tmp_path / 'list.txt').write_text(text)
    assert read_ids(tmp_path / 'list.txt') == ids


@pytest.mark.parametrize('content, read, message', [
    (b'', read_ids, 'names no image'), (b'a\nb\na\n', read_ids, "names 'a' more than once"),
    (b'a\xff\xfe', read_ids, 'is no text in UTF-8.*save it as UTF-8'),
    ('a.jpg'.encode('utf-16-le'), read_ids, 'is no text in UTF-8.*save it as UTF-8'),
    ('a.jpg'.encode('utf-32'), read_ids, 'is no text in UTF-8.*save it as UTF-8'),
    *((content, partial(read_json, remedy='ask again'), 'is truncated, or not json .*; ask again')
      for content in (b'{', b'[' * 100_000, b'9' * 5000, b'\xff')),
    (b'', read_arrays, 'the file is empty'), (b'PK', read_arrays, 'truncated, or not an .npz')])
def test_bad_files_are_named(tmp_path, content, read, message):
    (tmp_path / 'a.txt').write_bytes(content)
    with pytest.raises(ValueError, match=f'a.txt:? {message}'):
        read(tmp_path / 'a.txt')
    with pytest.raises(FileNotFoundError, match='none'):
        read(tmp_path / 'none')


@pytest.mark.parametrize('error, text', [
    (KeyError('x'), "a.mat: no key 'x'"), (MemoryError(), 'a.mat: MemoryError'),
    (TypeError('of a kind'), 'a.mat: of a kind'), (ValueError('a.mat: b'), 'a.mat: b')])
def test_errors_get_the_name_of_the_file_once(error, text):
    with pytest.raises(ValueError) as raised, naming('a.mat'):
        raise error
    assert str(raised.value) == text


def test_arrays_and_their_limit(tmp_path, monkeypatch):
    path = tmp_path / 'a.npz'
    write_arrays(path, dict(masks=np.zeros((4, 50, 50), bool), text=np.array('x')))
    assert read_arrays(path)['masks'].shape == (4, 50, 50)
    seen = {}
    read_arrays(path, seen.update)
    assert seen == dict(masks=(4, 50, 50), text=())
    monkeypatch.setattr(files, 'MAX_BYTES', 10**4)
    with pytest.raises(ValueError, match='a.npz: .* bytes when unpacked; more than 10000 are not read'):
        read_arrays(path)


def test_a_stated_shape_is_compared_with_the_bytes(tmp_path):
    """A head of 64 GB over three bytes: refused before an array is made."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, dict(descr='|u1', fortran_order=False, shape=(2**18, 2**18)))
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('masks.npy', head.getvalue() + b'abc')
    with pytest.raises(ValueError, match=r"a.npz: .*'masks.npy' states \(262144, 262144\)"):
        read_arrays(tmp_path / 'a.npz')
