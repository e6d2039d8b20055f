"""Any file of proposals is read, or refused by an error that names it: nothing run, nothing written, no crash.

For a night: see tests/test_fuzzing_files.py.
"""
import base64
import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import EDITS, Payload, edited

from mmiam.proposals.io import load_proposals, proposals_from_masks
from mmiam.utils.rle import encode_masks

SIZE = (6, 8)
MASKS = np.zeros((3, *SIZE), bool)
MASKS[0, 1:4, 2:6] = MASKS[1, :, 4:] = MASKS[2, 5, 7] = True
NAMES = st.sampled_from(['superpixels', 'labels', 'scores', 'maskmat', 'other'])
#: sides and counts: small ones, and what a file states to fill the memory
COUNTS = st.one_of(st.integers(0, 8), st.sampled_from([-1, 255, 2**16, 2**20, 2**31 - 1]))
SIZES = st.sampled_from([None, SIZE])


def read(path, size=None):
    """Read and use a file, or be refused as files are; memory is taken in proportion to the image, if that is known."""
    tracemalloc.start()
    try:
        proposals = load_proposals(path, size)
        assert len(proposals.areas()) == len(proposals.boxes()) == len(proposals)
        assert proposals.scores is None or np.isfinite(proposals.scores).all()
    except (ValueError, OSError) as error:
        assert str(path) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert size is None or peak < 2**25, f'{peak} bytes'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('any')


# -- MATLAB 7.3: HDF5 --------------------------------------------------------------------------------------------------
@pytest.fixture(scope='module')
def h5py():
    return pytest.importorskip('h5py')


@pytest.fixture(scope='module')
def other(folder, h5py):
    with h5py.File(folder / 'other.h5', 'w') as file:
        file['maskmat'] = MASKS[0].astype('u1')
    return folder / 'other.h5'


NODES = st.one_of(
    st.tuples(st.just('array'), st.lists(st.integers(0, 8), max_size=3),
              st.sampled_from(['u1', 'i4', 'f8', 'c16', 'S3'])),
    st.tuples(st.just('unwritten'), st.lists(COUNTS.filter(lambda n: n > 0), min_size=1, max_size=2), st.just('f8')),
    st.tuples(st.sampled_from(['external', 'soft', 'virtual', 'storage', 'circle', 'empty', 'type'])),
    st.tuples(st.just('cell'), st.lists(st.integers(1, 4), max_size=5)))


def put(h5py, parent, name, node, other):
    """One entry of a file, of a kind of ``NODES``."""
    kind = node[0]
    if kind == 'array':
        options = dict(compression='gzip') if node[1] and 0 not in node[1] else {}  # a single number has no chunks
        parent.create_dataset(name, data=np.zeros(node[1], node[2]), **options)
    elif kind == 'unwritten':
        parent.create_dataset(name, node[1], node[2], chunks=tuple(min(n, 64) for n in node[1]))
    elif kind == 'external':
        parent[name] = h5py.ExternalLink(str(other), 'maskmat')
    elif kind == 'soft':
        parent[name] = h5py.SoftLink('/labels')
    elif kind == 'virtual':
        layout = h5py.VirtualLayout(SIZE, 'u1')
        layout[:] = h5py.VirtualSource(str(other), 'maskmat', SIZE)
        parent.create_virtual_dataset(name, layout)
    elif kind == 'storage':
        parent.create_dataset(name, SIZE, 'u1', external=[(str(other), 0, 48)])
    elif kind == 'circle':
        parent.create_group(name)['inner'] = parent
    elif kind == 'empty':
        parent.create_dataset(name, data=np.zeros(2, 'u8')).attrs['MATLAB_empty'] = 1
    elif kind == 'type':
        parent[name] = np.dtype('f8')
    else:
        targets = [parent.file.require_dataset(f'#refs#/{i}', (1, i), 'u4').ref for i in node[1]]
        parent.create_dataset(name, data=np.array([targets], h5py.ref_dtype) if targets else np.zeros((1, 0), 'u8'))


@given(nodes=st.dictionaries(NAMES, NODES, max_size=4), inner=st.dictionaries(NAMES, NODES, max_size=3), size=SIZES)
def test_matlab_7(nodes, inner, size, folder, other, h5py):
    with h5py.File(folder / 'any7.mat', 'w') as file:
        for parent, content in ((file, nodes), (file.create_group('struct'), inner)):
            for name, node in content.items():
                put(h5py, parent, name, node, other)
    read(folder / 'any7.mat', size)


@pytest.mark.parametrize('kind', ['external', 'soft', 'virtual', 'storage', 'circle'])
@pytest.mark.parametrize('depth', [0, 1])
def test_nothing_leads_out_of_a_matlab_file(folder, other, h5py, kind, depth):
    with h5py.File(folder / 'out.mat', 'w') as file:
        file['labels'] = MASKS[0].astype('u1')
        put(h5py, file.create_group('candidates') if depth else file, 'maskmat', (kind, ), other)
    with pytest.raises(ValueError, match='out.mat: .*(not followed|another file, which is not read|in a circle)'):
        load_proposals(folder / 'out.mat')


def test_a_small_file_cannot_fill_the_memory(folder, h5py):
    """Arrays that nothing backs, and one array named a thousand times."""
    with h5py.File(folder / 'a.mat', 'w') as file:
        file.create_dataset('maskmat', (4000, 4000), 'f8', chunks=(64, 64))
    with h5py.File(folder / 'b.mat', 'w') as file:
        big = file.create_dataset('#refs#/a', data=np.zeros((2000, 2000), 'u1'), compression='gzip')
        file.create_dataset('maskmat', data=np.full((1, 1000), big.ref, h5py.ref_dtype))
    for name in ('a.mat', 'b.mat'):
        read(folder / name, SIZE)
        with pytest.raises(ValueError, match=f'{name}: .*more than a file of this size holds'):
            load_proposals(folder / name)


# -- json: runs of the PRM demo and of COCO, and anything --------------------------------------------------------------
RUNS = st.lists(st.tuples(st.one_of(st.integers(0, 50), st.just(2**32 - 1)),
                          st.one_of(st.integers(0, 50), st.just(2**31))), max_size=5)
SHAPES = st.one_of(st.just(list(SIZE)), st.lists(COUNTS, min_size=1, max_size=3), st.just([10**30, 10**400]))
PRM = st.builds(
    lambda runs, cut, shape: dict(data=base64.b64encode(np.array(runs, '<u4').tobytes()[cut:]).decode(), shape=shape),
    RUNS, st.sampled_from([0, 0, 3]), SHAPES)
TEXT = st.one_of(st.sampled_from([rle['counts'] for rle in encode_masks(MASKS)]),
                 st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=8), st.text(max_size=4))
SCORE = st.one_of(st.floats(), st.integers(), st.none(), st.just(1e308))
RLE = st.fixed_dictionaries(dict(size=SHAPES, counts=st.one_of(TEXT, st.lists(COUNTS, max_size=5))),
                            optional=dict(score=SCORE, predicted_iou=SCORE, stability_score=SCORE))
ENTRIES = st.one_of(PRM, RLE, st.builds(lambda rle, score: dict(segmentation=rle, score=score), RLE, SCORE))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 20), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(
        ['annotations', 'image', 'segmentation', 'size', 'counts', 'data', 'shape', 'score', 'image_id']), inner,
        max_size=5)), max_leaves=20)


@given(content=st.one_of(
    st.lists(PRM, max_size=4), st.lists(RLE, max_size=4), st.lists(ENTRIES, max_size=4), st.builds(
        lambda entries, sides: dict(annotations=entries, image=dict(zip(('height', 'width', 'id'), sides))),
        st.lists(ENTRIES, max_size=4), SHAPES), VALUES), size=SIZES)
def test_json(content, size, folder):
    (folder / 'any.json').write_text(json.dumps(content))
    read(folder / 'any.json', size)


@given(arrays=st.dictionaries(
    st.sampled_from(['format', 'size', 'num_labels', 'level', 'row', 'origin', 'scores', 'seconds', 'label_map_0',
                     'members_0', 'masks']),
    st.one_of(st.lists(st.integers(-2, 9), max_size=4), st.lists(st.lists(st.integers(-1, 3), min_size=2, max_size=2)),
              st.integers(-1, 2**62), st.floats(), st.text(max_size=3))))
def test_any_arrays(arrays, folder):
    plain = dict(format=1, size=[2, 2], num_labels=[2], level=[0], row=[0], origin='x',
                 label_map_0=[[0, 1], [1, 1]], members_0=np.array([[64]], np.uint8))
    np.savez(folder / 'any.npz', **{**plain, **arrays})
    read(folder / 'any.npz')


# -- damage to valid files of every format, and pickles ----------------------------------------------------------------
def samples():
    cell = np.empty((3, 1), object)
    cell[:, 0] = [np.array([ids], np.uint32) for ids in ([1], [2, 5], [3, 1, 2])]
    cob = dict(superpixels=np.array([[1, 1, 2, 2, 5], [1, 3, 3, 2, 5]], np.uint16), labels=cell, scores=np.ones((3, 1)))
    made = {name: io.BytesIO() for name in ('cob.mat', 'struct.mat', 'packed.mat', 'old.mat', 'plain.npz', '1.png')}
    scipy.io.savemat(made['cob.mat'], cob)
    scipy.io.savemat(made['struct.mat'], dict(candidates=cob, text='letters'))
    scipy.io.savemat(made['packed.mat'], cob, do_compression=True)
    scipy.io.savemat(made['old.mat'], dict(maskmat=MASKS[0].astype(np.uint8)), format='4')
    np.savez_compressed(made['plain.npz'], masks=MASKS, scores=np.arange(3.))
    Image.fromarray(MASKS[0]).save(made['1.png'], 'PNG')
    made['rle.json'] = io.BytesIO(json.dumps(encode_masks(MASKS)).encode())
    return {name: file.getvalue() for name, file in made.items()}


SAMPLES = samples()


@given(name=st.sampled_from([*SAMPLES, 'own.npz']), edits=EDITS)
def test_damage(name, edits, folder):
    place = folder / 'damaged'
    place.mkdir(exist_ok=True)
    if name not in SAMPLES:
        proposals_from_masks(MASKS, scores=np.array([.9, .5, .1])).save(folder / name)
        SAMPLES[name] = (folder / name).read_bytes()
    path = place / name
    path.write_bytes(edited(SAMPLES[name], edits))
    read(place if name == '1.png' else path)


@pytest.mark.parametrize('kind, suffix', [('npz', '.npz'), ('npy in npz', '.npz'), ('pickle', '.npz'),
                                          ('mat 7.3', '.mat'), ('pickle', '.mat'), ('pickle', '.json')])
def test_payloads_do_not_run(kind, suffix, tmp_path, trap, request):
    path, data = tmp_path / f'hostile{suffix}', pickle.dumps(Payload(trap))
    if kind == 'npz':
        np.savez(path, masks=np.array([Payload(trap)], dtype=object))
    elif kind == 'npy in npz':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('masks.npy', data)
    elif kind == 'mat 7.3':
        with request.getfixturevalue('h5py').File(path, 'w') as file:
            file['maskmat'] = np.void(data)
    else:
        path.write_bytes(data)
    with pytest.raises(ValueError, match='hostile'):
        load_proposals(path)


def test_members_of_an_archive_stay_inside_it(tmp_path):
    (tmp_path / 'inner').mkdir()
    np.save(array := io.BytesIO(), MASKS)
    with zipfile.ZipFile(tmp_path / 'inner/a.npz', 'w') as archive:
        for name in ('masks.npy', '../outside.npy', str(tmp_path / 'absolute.npy')):
            archive.writestr(name, array.getvalue())
    np.testing.assert_array_equal(load_proposals(tmp_path / 'inner/a.npz').masks(), MASKS)
    assert [path.name for path in tmp_path.rglob('*')] == ['inner', 'a.npz']
