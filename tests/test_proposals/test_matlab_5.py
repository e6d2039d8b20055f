"""Files of MATLAB's own layout: read as scipy reads them, and refused where a size contradicts the file."""
import io
import struct

import numpy as np
import pytest
import scipy.io
from scipy.sparse import csc_matrix

from mmiam.proposals.io.matlab_5 import read_matlab_5

CELL = np.empty((2, 1), object)
CELL[:, 0] = [np.arange(9.).reshape(3, 3), np.zeros((0, 0))]
CONTENT = dict(number=np.arange(6.).reshape(2, 3), small=np.array([[1, -2]], np.int8), text='letters', cell=CELL,
               struct=dict(a=1, inner=dict(b=CELL, c=np.array([True, False]))))
#: an array that has neither dimensions nor name, as MATLAB's own classes
OPAQUE = struct.pack('<IIIIII', 14, 16, 6, 8, 17, 0)


def saved(content, **options):
    scipy.io.savemat(file := io.BytesIO(), content, **options)
    return file.getvalue()


@pytest.mark.parametrize('compressed', [False, True])
def test_values_by_kind(compressed):
    found = read_matlab_5(saved(CONTENT, do_compression=compressed) + OPAQUE)
    assert list(found) == list(CONTENT) and found['text'] is None
    np.testing.assert_array_equal(found['number'], CONTENT['number'])
    assert found['small'].tolist() == [[1, -2]]
    for cell in (found['cell'], found['struct']['inner']['b']):
        assert cell[0].tolist() == CELL[0, 0].tolist() and cell[1].shape == (0, 0)
    assert found['struct']['a'].tolist() == [[1]] and found['struct']['inner']['c'].tolist() == [[1, 0]]


def test_big_endian_and_the_older_compact_form():
    """Written by hand: scipy writes the machine's order alone."""
    def element(kind, data):
        return struct.pack('>II', kind, len(data)) + data + bytes(-len(data) % 8)
    array = (element(6, struct.pack('>II', 6, 0)) + element(5, struct.pack('>ii', 1, 2)) + struct.pack('>HH', 1, 1)
             + b'x\0\0\0' + element(9, struct.pack('>dd', 3, 4)))
    assert read_matlab_5(bytes(124) + b'\1\0MI' + element(14, array))['x'].tolist() == [[3, 4]]


def test_kinds_that_are_not_read():
    several = np.array([(1, ), (2, )], dtype=[('a', object)])
    assert read_matlab_5(saved(dict(sparse=csc_matrix(np.eye(3)), several=several))) == dict(sparse=None, several=None)


def test_two_variables_of_one_name():
    with pytest.raises(ValueError, match="two variables are called 'x'"):
        read_matlab_5(saved(dict(x=csc_matrix(np.eye(3)))) + saved(dict(x=1.))[128:])


@pytest.mark.parametrize('name, sides, wrong, message', [
    ('number', (2, 3), (2, 4), '48 bytes of type 9 for an array of 8 values'), ('number', (2, 3), (-1, 3), 'sides'),
    ('number', (2, 3), (2**30, 2**30), 'bytes of type 9'), ('cell', (2, 1), (3, 1), 'without 3 arrays in it'),
    ('cell', (2, 1), (2**31 - 1, 2**31 - 1), 'arrays in it')])
def test_dimensions_that_disagree_with_the_data(name, sides, wrong, message):
    data = saved({name: CONTENT[name]})
    place = data.index(struct.pack('<ii', *sides))
    with pytest.raises(ValueError, match=message):
        read_matlab_5(data[:place] + struct.pack('<ii', *wrong) + data[place + 8:])


def test_a_cell_in_a_cell_without_end():
    content = np.eye(2)
    for _ in range(10):
        holder = np.empty((1, 1), object)
        holder[0, 0], content = content, holder
    with pytest.raises(ValueError, match='nested more than 8 deep'):
        read_matlab_5(saved(dict(x=content)))


@pytest.mark.parametrize('compressed', [False, True])
def test_every_cut_is_noticed(compressed):
    data = saved(CONTENT, do_compression=compressed)
    ends = [len(saved({key: CONTENT[key] for key in list(CONTENT)[:n]}, do_compression=compressed)) for n in range(5)]
    for cut in range(129, len(data) - 8, 7):
        if cut not in ends:
            with pytest.raises(ValueError):
                read_matlab_5(data[:cut])
