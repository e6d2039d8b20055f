"""Damaged and hostile proposal files: a clear error, nothing run, nothing written, no crash of the process."""
import io
import pickle
import zipfile

import numpy as np
import pytest
from support import Payload
from test_mat_reader import MASKS

from mmiam.proposals.io import load_proposals


def hostile(kind, path, payload):
    """Write a file that would create a file if its pickle were loaded."""
    objects = np.array([payload], dtype=object)
    if kind == 'npz':
        np.savez(path, masks=objects)
    elif kind == 'npy in npz':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('masks.npy', pickle.dumps(payload))
    elif kind == 'mat 7.3':
        import h5py
        with h5py.File(path, 'w') as file:
            file['maskmat'] = np.void(pickle.dumps(payload))
    else:
        path.write_bytes(pickle.dumps(payload))


@pytest.mark.parametrize('kind, suffix', [('npz', '.npz'), ('npy in npz', '.npz'), ('pickle', '.npz'),
                                          ('mat 7.3', '.mat'), ('pickle', '.mat'), ('pickle', '.json')])
def test_payloads_do_not_run(kind, suffix, tmp_path, trap):
    path = tmp_path / f'hostile{suffix}'
    if kind == 'mat 7.3':
        pytest.importorskip('h5py')
    hostile(kind, path, Payload(trap))
    with pytest.raises(ValueError, match='hostile'):
        load_proposals(path)


def test_members_of_an_archive_stay_inside_it(tmp_path):
    folder = tmp_path / 'inner'
    folder.mkdir()
    array = io.BytesIO()
    np.save(array, MASKS)
    with zipfile.ZipFile(folder / 'a.npz', 'w') as archive:
        for name in ('masks.npy', '../outside.npy', str(tmp_path / 'absolute.npy')):
            archive.writestr(name, array.getvalue())
    np.testing.assert_array_equal(load_proposals(folder / 'a.npz').masks(), MASKS)
    assert [path.name for path in tmp_path.iterdir()] == ['inner'] and len(list(folder.iterdir())) == 1


def test_a_circle_of_groups_ends_with_an_error(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'circle.mat', 'w') as file:
        group = file.create_group('candidates')
        group['superpixels'] = group
    with pytest.raises(ValueError, match='circle.mat: .*in a circle'):
        load_proposals(tmp_path / 'circle.mat')
