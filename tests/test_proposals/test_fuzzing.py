"""Any file of proposals is read, or refused by an error that names it: strategies that know how the formats are built.

For a night: see tests/test_fuzzing_files.py.
"""
import base64
import io
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import EDITS, edited

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


# -- MATLAB 5: elements of (type, size) around elements ----------------------------------------------------------------
def element(kind, data, size=None):
    return struct.pack('<II', kind, (len(data) if size is None else size) & 0xffffffff) + data + bytes(-len(data) % 8)


@st.composite
def matrices(draw, depth=0):
    """An array of any class: numbers, text, cell, struct, or one that is not read; perhaps with a lie in it."""
    lie = draw(st.sampled_from(['', '', '', 'sides', 'count', 'size', 'kind', 'flags']))
    array_class = draw(st.sampled_from([6, 9, 12, 4, 5, 3] + [1, 2] * (depth < 3)))
    sides = draw(st.lists(st.integers(0, 3), min_size=2, max_size=3))
    count = int(np.prod(sides))
    body = b''
    if array_class == 2:
        names = draw(st.lists(NAMES, min_size=1, max_size=2))
        body = element(5, struct.pack('<i', 16)) + element(1, b''.join(n.encode().ljust(16, b'\0') for n in names))
        count *= len(names)
    if array_class in (1, 2):
        body += b''.join(draw(matrices(depth + 1)) for _ in range(min(count, 4)))
    else:
        kind, width = draw(st.sampled_from([(9, 8), (2, 1), (5, 4), (4, 2)]))
        number = count + (lie == 'count') * draw(st.integers(-1, 2))
        body = element(kind, draw(st.binary(min_size=max(0, number * width), max_size=max(0, number * width))))
    stated = [draw(COUNTS) for _ in sides] if lie == 'sides' else sides
    flags = draw(st.integers(0, 2**16)) if lie == 'flags' else array_class
    data = (element(6, struct.pack('<II', flags, 0)) + element(5, struct.pack(f'<{len(stated)}i', *stated))
            + element(1, draw(NAMES).encode() if depth == 0 else b'') + body)
    return element(draw(st.integers(0, 18)) if lie == 'kind' else 14, data, draw(COUNTS) if lie == 'size' else None)


@given(variables=st.lists(st.tuples(matrices(), st.booleans()), min_size=1, max_size=3), size=SIZES)
def test_matlab_5(variables, size, folder):
    packed = [struct.pack('<II', 15, len(z)) + z if small else data
              for data, small in variables for z in [zlib.compress(data)]]
    (folder / 'any.mat').write_bytes(b'MATLAB 5.0'.ljust(124) + struct.pack('<H', 0x0100) + b'IM' + b''.join(packed))
    read(folder / 'any.mat', size)


# -- MATLAB 7.3: HDF5 --------------------------------------------------------------------------------------------------
NODES = st.one_of(
    st.tuples(st.just('array'), st.lists(st.integers(0, 8), max_size=3),
              st.sampled_from(['u1', 'i4', 'f8', 'c16', 'S3'])),
    st.tuples(st.just('unwritten'), st.lists(COUNTS.filter(lambda n: n > 0), min_size=1, max_size=2), st.just('f8')),
    st.tuples(st.sampled_from(['external', 'soft', 'virtual', 'storage', 'circle', 'empty', 'type'])),
    st.tuples(st.just('cell'), st.lists(st.integers(0, 3), max_size=5)))


def put(file, parent, name, node, h5py, other):
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
        targets = [file.require_dataset(f'#refs#/{i}', (1, i), 'u4') for i in range(1, 5)]
        parent.create_dataset(name, data=np.array([[targets[i].ref for i in node[1]]], h5py.ref_dtype)
                              if node[1] else np.zeros((1, 0), 'u8'))


@pytest.fixture(scope='module')
def other(folder):
    h5py = pytest.importorskip('h5py')
    with h5py.File(folder / 'other.h5', 'w') as file:
        file['maskmat'] = MASKS[0].astype('u1')
    return folder / 'other.h5'


@given(nodes=st.dictionaries(NAMES, NODES, max_size=4), inner=st.dictionaries(NAMES, NODES, max_size=3), size=SIZES)
def test_matlab_7(nodes, inner, size, folder, other):
    h5py = pytest.importorskip('h5py')
    with h5py.File(folder / 'any7.mat', 'w') as file:
        for name, node in nodes.items():
            put(file, file, name, node, h5py, other)
        if inner:
            group = file.create_group('struct')
            for name, node in inner.items():
                put(file, group, name, node, h5py, other)
    read(folder / 'any7.mat', size)


@pytest.mark.parametrize('kind', ['external', 'soft', 'virtual', 'storage'])
@pytest.mark.parametrize('depth', [0, 1])
def test_nothing_leads_out_of_a_matlab_file(folder, other, kind, depth):
    h5py = pytest.importorskip('h5py')
    with h5py.File(folder / 'out.mat', 'w') as file:
        file['labels'] = MASKS[0].astype('u1')
        put(file, file.create_group('candidates') if depth else file, 'maskmat', (kind, ), h5py, other)
    with pytest.raises(ValueError, match="out.mat: .*(not followed|another file, which is not read)"):
        load_proposals(folder / 'out.mat')


def test_a_small_file_cannot_fill_the_memory(folder):
    """Arrays that nothing backs, and one array named a thousand times."""
    h5py = pytest.importorskip('h5py')
    with h5py.File(folder / 'a.mat', 'w') as file:
        file.create_dataset('maskmat', (4000, 4000), 'f8', chunks=(64, 64))
    with h5py.File(folder / 'b.mat', 'w') as file:
        big = file.create_dataset('#refs#/a', data=np.zeros((2000, 2000), 'u1'), compression='gzip')
        file.create_dataset('maskmat', data=np.full((1, 1000), big.ref, h5py.ref_dtype))
    for name in ('a.mat', 'b.mat'):
        read(folder / name, SIZE)
        with pytest.raises(ValueError, match=f'{name}: .*more than a file of this size holds'):
            load_proposals(folder / name)


# -- json: runs of the PRM demo and of COCO ----------------------------------------------------------------------------
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
ENTRIES = st.lists(st.one_of(PRM, RLE, st.builds(lambda rle, score: dict(segmentation=rle, score=score), RLE, SCORE)),
                   max_size=4)


@given(entries=st.one_of(ENTRIES, st.lists(PRM, max_size=4), st.lists(RLE, max_size=4)), image=st.one_of(
    st.none(), SHAPES), size=SIZES)
def test_runs(entries, image, size, folder):
    content = entries if image is None else dict(
        annotations=entries, image=dict(zip(('height', 'width', 'id'), image)))
    (folder / 'any.json').write_text(json.dumps(content))
    read(folder / 'any.json', size)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 20), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(
        ['annotations', 'image', 'segmentation', 'size', 'counts', 'data', 'shape', 'score', 'image_id']), inner,
        max_size=5)), max_leaves=20)


@given(content=VALUES, size=SIZES)
def test_any_json(content, size, folder):
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


# -- damage to valid files of every format -----------------------------------------------------------------------------
def samples():
    cell = np.empty((3, 1), object)
    cell[:, 0] = [np.array([ids], np.uint32) for ids in ([1], [2, 5], [3, 1, 2])]
    cob = dict(superpixels=np.array([[1, 1, 2, 2, 5], [1, 3, 3, 2, 5]], np.uint16), labels=cell, scores=np.ones((3, 1)))
    made = {}
    for name, options in (('cob.mat', {}), ('packed.mat', dict(do_compression=True))):
        scipy.io.savemat(file := io.BytesIO(), cob, **options)
        made[name] = file.getvalue()
    scipy.io.savemat(file := io.BytesIO(), dict(maskmat=MASKS[0].astype(np.uint8)), format='4')
    np.savez_compressed(plain := io.BytesIO(), masks=MASKS, scores=np.arange(3.))
    Image.fromarray(MASKS[0]).save(png := io.BytesIO(), 'PNG')
    return {**made, 'old.mat': file.getvalue(), 'plain.npz': plain.getvalue(), '1.png': png.getvalue(),
            'rle.json': json.dumps(encode_masks(MASKS)).encode()}


SAMPLES = samples()


@given(name=st.sampled_from([*SAMPLES, 'own.npz']), edits=EDITS)
def test_damage(name, edits, folder):
    place = folder / 'damaged'
    place.mkdir(exist_ok=True)
    if name == 'own.npz' and name not in SAMPLES:
        proposals_from_masks(MASKS, scores=np.array([.9, .5, .1])).save(folder / name)
        SAMPLES[name] = (folder / name).read_bytes()
    path = place / name
    path.write_bytes(edited(SAMPLES[name], edits))
    read(place if name == '1.png' else path)
