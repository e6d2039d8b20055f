import io
import struct

import numpy as np
import pytest
import scipy.io

from mmiam.proposals.io.mat_structure import checked_variables

CELL = np.empty((2, 1), object)
CELL[:, 0] = [np.eye(3), np.zeros((0, 0))]
CONTENT = dict(number=np.arange(6.).reshape(2, 3), wave=np.array([1 + 2j]), text='letters', cell=CELL,
               struct=dict(a=1, inner=dict(b=CELL, c=np.array([True, False]))))


def saved(content, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


@pytest.mark.parametrize('compressed', [False, True])
def test_whole_files_pass(compressed):
    assert checked_variables(saved(CONTENT, do_compression=compressed)) == list(CONTENT)


def test_kinds_that_are_not_read_are_left_out():
    from scipy.sparse import csc_matrix
    assert checked_variables(saved(dict(sparse=csc_matrix(np.eye(3)), number=1.))) == ['number']


def test_nothing_unread_hides_behind_a_name_that_is_read():
    """scipy finds variables by name, and a sparse array that nobody looked at can end the process."""
    from scipy.sparse import csc_matrix
    with pytest.raises(ValueError, match="two variables are called 'x'"):
        checked_variables(saved(dict(x=csc_matrix(np.eye(3)))) + saved(dict(x=1.))[128:])
    opaque = struct.pack('<IIIIII', 14, 16, 6, 8, 17, 0)
    assert checked_variables(saved(dict(x=1.)) + opaque) == ['x']
    with pytest.raises(ValueError, match="two variables are called 'None'"):
        checked_variables(saved({'None': 1.}) + opaque)


def test_version_4_has_no_skeleton():
    assert checked_variables(saved(dict(a=np.eye(2)), format='4')) is None and checked_variables(b'short') is None


def test_dimensions_that_disagree_with_the_data():
    data = saved(dict(number=np.arange(6.).reshape(2, 3)))
    sides = data.index(struct.pack('<ii', 2, 3))
    for wrong in ((2, 4), (-1, 3), (2**30, 2**30)):
        with pytest.raises(ValueError, match='bytes of type|sides'):
            checked_variables(data[:sides] + struct.pack('<ii', *wrong) + data[sides + 8:])


def test_a_text_of_more_letters_than_bytes():
    """scipy would fill it up, here to 2 GB."""
    data = saved(dict(text='letters'))
    sides = data.index(struct.pack('<ii', 1, 7))
    with pytest.raises(ValueError, match='for a text of 2147483647 letters'):
        checked_variables(data[:sides] + struct.pack('<ii', 1, 2**31 - 1) + data[sides + 8:])


def test_a_cell_that_promises_more_than_it_holds():
    data = saved(dict(cell=CELL))
    sides = data.index(struct.pack('<ii', 2, 1))
    with pytest.raises(ValueError, match='ends within|leaves what holds it'):
        checked_variables(data[:sides] + struct.pack('<ii', 3, 1) + data[sides + 8:])


@pytest.mark.parametrize('compressed', [False, True])
def test_every_cut_is_noticed(compressed):
    data = saved(CONTENT, do_compression=compressed)
    ends = [len(saved({key: CONTENT[key] for key in list(CONTENT)[:n]}, do_compression=compressed)) for n in range(5)]
    for cut in range(129, len(data) - 8, 7):
        if cut not in ends:
            with pytest.raises(ValueError):
                checked_variables(data[:cut])
