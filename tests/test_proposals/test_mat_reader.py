"""COB / MCG candidates and CIM's maskmat: mmiam/proposals/io/mat.py."""
import numpy as np
import pytest
import scipy.io

from mmiam.proposals.io import load_proposals

SUPERPIXELS = np.array([[1, 1, 2, 2, 5], [1, 3, 3, 2, 5]])
LABELS = [[1], [2, 5], [3, 1, 2]]
MASKS = np.stack([np.isin(SUPERPIXELS, ids) for ids in LABELS])
SCORES = [.9, .5, .1]


def cell(entries):
    result = np.empty((len(entries), 1), dtype=object)
    for i, entry in enumerate(entries):
        result[i, 0] = entry
    return result


def candidates():
    """As COB's im2prop and MCG's im2mcg give it: ids of a class, rows of labels, boxes up left down right."""
    return dict(superpixels=SUPERPIXELS.astype(np.uint16), labels=cell([np.array([ids], np.uint32) for ids in LABELS]),
                scores=np.array(SCORES)[:, None], bboxes=np.ones((3, 4)))


def write_hdf5(path, variables, userblock=True):
    """MATLAB 7.3: an HDF5 file behind a header of 512 bytes, arrays with reversed axes, cells as references."""
    h5py = pytest.importorskip('h5py')

    def write(group, name, value):
        if isinstance(value, dict):
            for key, entry in value.items():
                write(group.require_group(name), key, entry)
        elif value.dtype == object:
            refs = np.empty(value.shape[::-1], dtype=h5py.ref_dtype)
            for i, entry in enumerate(value.ravel(order='F')):
                stored = group.file.require_group('#refs#').create_dataset(f'{name}{i}', data=entry.T)
                refs.T[np.unravel_index(i, value.shape, order='F')] = stored.ref
            group.create_dataset(name, data=refs, dtype=h5py.ref_dtype).attrs['MATLAB_class'] = np.bytes_('cell')
        else:
            group.create_dataset(name, data=value.T)

    with h5py.File(path, 'w', userblock_size=512 if userblock else 0) as file:
        for name, value in variables.items():
            write(file, name, value)
    if userblock:
        with open(path, 'r+b') as file:
            file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124) + b'\x00\x02IM')


@pytest.mark.parametrize('write', [scipy.io.savemat, write_hdf5,
                                   lambda p, v: write_hdf5(p, v, userblock=False)], ids=['v5', 'v7.3', 'bare hdf5'])
@pytest.mark.parametrize('wrap', [lambda c: c, lambda c: dict(candidates=c)], ids=['top', 'struct'])
def test_superpixels_and_labels(tmp_path, write, wrap):
    path = tmp_path / '2007_000001.mat'
    write(path, wrap(candidates()))
    proposals = load_proposals(path, size=(2, 5))
    np.testing.assert_array_equal(proposals.masks(), MASKS)
    np.testing.assert_allclose(proposals.scores, SCORES, rtol=1e-6)
    assert len(proposals.label_maps) == 1 and proposals.num_labels == (4, )


@pytest.mark.parametrize('write', [scipy.io.savemat, write_hdf5], ids=['v5', 'v7.3'])
@pytest.mark.parametrize('layout', ['column', 'row', 'single', 'array'])
def test_maskmat(tmp_path, write, layout):
    masks = MASKS.astype(np.uint8)
    maskmat = dict(column=cell(masks), row=cell(masks).T, single=cell(masks[:1]), array=np.moveaxis(masks, 0, 2))
    path = tmp_path / 'a.mat'
    write(path, dict(maskmat=maskmat[layout]))
    proposals = load_proposals(path)
    np.testing.assert_array_equal(proposals.masks(), MASKS[:1] if layout == 'single' else MASKS)
    assert proposals.scores is None


@pytest.mark.parametrize('write', [scipy.io.savemat, write_hdf5], ids=['v5', 'v7.3'])
def test_transposed_files_are_refused_where_the_image_is_known(tmp_path, write):
    path = tmp_path / 'a.mat'
    write(path, dict(maskmat=cell([m.T for m in MASKS])))
    with pytest.raises(ValueError, match=r'a.mat: proposals of \(5, 2\).*\(2, 5\): transposed'):
        load_proposals(path, size=(2, 5))
    with pytest.raises(ValueError, match=r'a.mat: proposals of \(5, 2\)'):
        load_proposals(path, size=(4, 5))


@pytest.mark.parametrize('write', [scipy.io.savemat, write_hdf5], ids=['v5', 'v7.3'])
def test_truncated(tmp_path, write):
    path = tmp_path / 'a.mat'
    write(path, candidates())
    whole = path.read_bytes()
    for cut in (130, 600, len(whole) * 2 // 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match='a.mat: (truncated|neither)'):
            load_proposals(path)


def test_other_content_is_named(tmp_path):
    path = tmp_path / 'a.mat'
    scipy.io.savemat(path, dict(something=1))
    with pytest.raises(ValueError, match=r"a.mat: neither .*'something'"):
        load_proposals(path)
    scipy.io.savemat(path, dict(candidates(), labels=cell([np.array([[1, 4]])] * 3)))
    with pytest.raises(ValueError, match='a.mat: proposal 0 names superpixels'):
        load_proposals(path)
    scipy.io.savemat(path, dict(candidates(), scores=np.ones((7, 1))))
    with pytest.raises(ValueError, match=r'a.mat: 3 proposals but scores of shape \(7,\)'):
        load_proposals(path)
    scipy.io.savemat(path, dict(maskmat=cell([np.zeros((2, 5)), np.zeros((5, 2))])))
    with pytest.raises(ValueError, match="a.mat: 'maskmat': mask 1 .*transposed"):
        load_proposals(path)


def test_missing_h5py_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / 'a.mat'
    write_hdf5(path, candidates())
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    with pytest.raises(ImportError, match='pip install h5py'):
        load_proposals(path)
