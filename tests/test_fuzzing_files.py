"""Checkpoints, parts of an export, dumps and run-lengths: unchanged, or refused by an error that names the file.

Files of proposals have theirs in test_proposals/test_fuzzing.py. For a night:
pytest --hypothesis-profile night tests/test_fuzzing_files.py tests/test_proposals/test_fuzzing.py
"""
import io
import json
import pickletools
import tracemalloc
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from support import EDITS, edited

from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import merge_parts
from mmiam.evaluation.dump import load_dump, save_dump
from mmiam.evaluation.functional.records import evaluate_records
from mmiam.utils.checked_json import write_checked_json
from mmiam.utils.checkpoints import read_checkpoint
from mmiam.utils.rle import check_runs, decode_masks, encode_masks, rle_areas, run_lengths

SIZE = (6, 8)
MASKS = np.zeros((2, *SIZE), bool)
MASKS[0, 1:4, 2:6] = MASKS[1, :, 4:] = True
RLES = encode_masks(MASKS)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('any')


def read(path, reader, most=2**25):
    """What is read, or None where an error names the file; memory is taken in proportion to the file."""
    tracemalloc.start()
    try:
        return reader(str(path))
    except (ValueError, OSError) as error:
        assert str(path) in str(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most, f'{peak} bytes'


# -- checkpoints: a zip archive of a pickle and one member a tensor ----------------------------------------------------
CONTENT = dict(state_dict={f'layer{i}.{name}': torch.arange(1., 1 + count).reshape(shape) for i in range(2)
                           for name, count, shape in (('weight', 12, (4, 3)), ('bias', 4, (4, )))},
               meta=dict(epoch=3, dataset_meta=dict(classes=('cat', 'dog'))))


def packed(**options):
    torch.save(CONTENT, buffer := io.BytesIO(), **options)
    return buffer.getvalue()


WHOLE = packed()
MEMBERS = [(info.filename, zipfile.ZipFile(io.BytesIO(WHOLE)).read(info)) for info in
           zipfile.ZipFile(io.BytesIO(WHOLE)).infolist()]
#: of the pickle: where its instructions begin
STEPS = [place for _, _, place in pickletools.genops(dict(MEMBERS)['archive/data.pkl'])]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


def use(content):
    """Look at every value: a tensor that reaches beyond its memory would end the process."""
    if isinstance(content, torch.Tensor):
        assert not content.is_meta and (content.numel() < 2**20) and str(content.sum())
    elif isinstance(content, dict):
        for value in content.values():
            use(value)


CHANGES = st.one_of(
    st.tuples(st.just('swap'), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just('drop'), st.integers(0, 9)),
    st.tuples(st.just('add'), st.sampled_from(['archive/data/9', '../outside', '/absolute', 'archive/data.pkl', 'x/y']),
              st.binary(max_size=64)),
    st.tuples(st.just('twice'), st.integers(0, 9), st.binary(max_size=64)),
    st.tuples(st.just('cut'), st.integers(0, 9), st.integers(0, 100)),
    st.tuples(st.just('packed'), st.integers(0, 9)),
    st.tuples(st.just('pickle'), st.integers(0, len(STEPS) - 1), st.binary(max_size=5)),
    st.tuples(st.just('pickle'), st.integers(0, len(STEPS) - 1), st.sampled_from(
        [b'K\xff', b'M\xff\xff', b'J\xff\xff\xff\x7f', b'J\0\0\0\x80', b'N', b')', b'}', b'0', b'.',
         b'cos\nsystem\n',
         b'ctorch\nDoubleStorage\n', b'ctorch._utils\n_rebuild_tensor\n', b'R', b'Q', b't', b'a',
         b'\x8a\x09' + b'\x7f' * 9])))


@given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_checkpoints_with_other_members(changes, folder):
    """With right check sums: no process ends, nothing is called, no memory is taken that the file does not have."""
    members, compressed = list(MEMBERS), set()
    for kind, place, *value in changes:
        index = place % len(members) if isinstance(place, int) else 0
        name, data = members[index]
        if kind == 'swap':
            other = value[0] % len(members)
            members[index], members[other] = (name, members[other][1]), (members[other][0], data)
        elif kind == 'drop' and len(members) > 1:
            del members[index]
        elif kind == 'add':
            members.append((place, value[0]))
        elif kind == 'twice':
            members.append((name, value[0]))
        elif kind == 'cut':
            members[index] = (name, data[:value[0]])
        elif kind == 'packed':
            compressed.add(index)
        elif kind == 'pickle':
            index = next((i for i, (name, _) in enumerate(members) if name.endswith('data.pkl')), 0)
            name, data = members[index]
            members[index] = name, data[:STEPS[place]] + value[0] + data[STEPS[place] + len(value[0]):]
    twice = len({name for name, _ in members}) < len(members)
    with warnings.catch_warnings(), zipfile.ZipFile(folder / 'members.pth', 'w') as archive:
        warnings.simplefilter('ignore')  # of equal names
        for index, (name, data) in enumerate(members):
            archive.writestr(zipfile.ZipInfo(name), data,
                             zipfile.ZIP_DEFLATED if index in compressed else zipfile.ZIP_STORED)
    content = read(folder / 'members.pth', read_checkpoint)
    use(content)
    assert content is None or not twice  # of two with one name, which one is read?
    assert not (folder.parent / 'outside').exists()


# -- parts of an export, dumps: a sha256 in front ----------------------------------------------------------------------
IMAGES = SimpleNamespace(classes=('x', 'y'), category_ids=[17, 'z'], names=['a.jpg'], ids=[7], labels=[[0, 1]])
PART = dict(image=dict(id=1, file_name='a.jpg', height=6, width=8, category_ids=[17, 'z']), annotations=[
    dict(id=1, image_id=1, category_id=17, iscrowd=0, area=12, bbox=[2, 1, 4, 3], score=.5, segmentation=RLES[0])])
COUNTS = [rle['counts'] for rle in RLES]
RECORD = dict(img_id='a', height=6, width=8, image_labels=[0], void_mask=None,
              ground_truth=dict(labels=[0], masks=COUNTS[:1], bboxes=[[2, 1, 6, 4]], ignore_flags=[0]),
              predictions=dict(labels=[0, 1], masks=COUNTS, bboxes=[[2, 1, 6, 4]] * 2, scores=[.5, .25]))
RUNS = st.lists(st.one_of(st.integers(0, 60), st.sampled_from([-1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])), max_size=5) \
    | st.tuples(*[st.sampled_from([0, 1, 2**62, 2**63 - 1])] * 3, st.integers(40, 60))  # a sum that wraps around


def text_of(runs):
    """Compressed counts of any whole numbers, as pycocotools packs them: 5 bits a character."""
    text = ''
    for place, run in enumerate(runs):
        run -= runs[place - 2] if place > 2 else 0
        more = True
        while more:
            bits, run = run & 31, run >> 5
            more = run != -1 if bits & 16 else run != 0
            text += chr((bits | 32 if more else bits) + 48)
    return text


TEXT = st.one_of(st.sampled_from(COUNTS), RUNS.map(text_of), st.text(alphabet=[chr(c) for c in range(46, 114)],
                                                                    max_size=8), st.text(max_size=3))
LEAF = st.one_of(st.none(), st.booleans(), st.integers(-2, 9), st.sampled_from([2**31, 2**63, 10**400, 17, 'z']),
                 st.floats(), TEXT)
VALUE = st.one_of(LEAF, st.lists(LEAF, max_size=4), st.fixed_dictionaries(
    dict(size=st.one_of(st.just(list(SIZE)), st.lists(LEAF, max_size=3)), counts=TEXT)), st.just({}))


def places(value, way=()):
    """Every place in nested lists and dicts."""
    yield way
    for key in (value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
        yield from places(value[key], (*way, key))


def put(value, way, new):
    """A copy with another value, or none (...), at a place."""
    if not way:
        return new
    copied = value.copy()
    if new is ... and len(way) == 1:
        del copied[way[0]]
    else:
        copied[way[0]] = put(value[way[0]], way[1:], new)
    return copied


def changed(content):
    """A list of (place, other value or ... to leave it out)."""
    ways = list(places(content))[1:]
    return st.lists(st.tuples(st.sampled_from(ways), st.one_of(VALUE, VALUE, st.just(...))), min_size=1, max_size=2)


def apply(content, changes):
    for way, new in changes:
        try:
            content = put(content, way, new)
        except (KeyError, IndexError, TypeError, AttributeError):  # an earlier change took the place
            pass
    return content


@given(changes=changed(PART))
def test_parts_of_other_content(changes, folder):
    """With a right check sum: refused, or what is merged is COCO json that others can read."""
    parts = PartFiles(str(folder / 'parts'), dict(checkpoint='a'), IMAGES.names)
    parts.write(0, apply(PART, changes))
    try:
        merged = merge_parts(parts, IMAGES, str(folder / 'out.json'))
    except ValueError as error:
        assert parts.path(0) in str(error)
        return
    for one in json.loads((folder / 'out.json').read_text())['annotations']:
        image, = merged['images']
        mask, = decode_masks([one['segmentation']], (image['height'], image['width']))
        assert mask.shape == (image['height'], image['width']) and one['category_id'] in IMAGES.category_ids
        assert one['image_id'] == 7 and np.isfinite([one['score'], one['area'], *one['bbox']]).all()


@given(changes=changed(RECORD))
def test_dumps_of_other_content(changes, folder):
    path = folder / 'dump.json'
    save_dump(str(path), [apply(RECORD, changes)], ['x', 'y'], 'pred_instances')
    dump = read(path, load_dump)
    if dump is not None:
        for void in ('background', 'ignore'):
            assert all(0 <= value <= 100 or np.isnan(value) for value in
                       evaluate_records(dump['images'], 2, void=void).metrics().values())


@given(content=st.dictionaries(st.sampled_from(['format', 'classes', 'images', 'pred_field']), VALUE, min_size=1))
def test_dumps_of_any_content(content, folder):
    write_checked_json(folder / 'dump.json', content)
    assert read(folder / 'dump.json', load_dump) is None or content['images'] == []


# -- damage to whole files ---------------------------------------------------------------------------------------------
def whole_files(folder):
    """Name -> reader of a file, and whether other content than the whole file's can be read: without check sums."""
    (folder / 'new.pth').write_bytes(WHOLE)
    (folder / 'old.pth').write_bytes(packed(_use_new_zipfile_serialization=False))
    save_dump(str(folder / 'dump.json'), [RECORD], ['x', 'y'], 'pred_instances')
    parts = PartFiles(str(folder), dict(checkpoint='a'), IMAGES.names)
    parts.write(0, PART)
    return {'new.pth': (read_checkpoint, False), 'old.pth': (read_checkpoint, True), 'dump.json': (load_dump, False),
            f'{parts.names[0]}.json': (lambda _: parts.read(0), False)}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp('whole')
    files = whole_files(place)
    return [(place / name, (place / name).read_bytes(), *files[name]) for name in files]


def flipped(data, bits):
    data = bytearray(data)
    for bit in bits:
        data[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(data)


DAMAGE = st.one_of(EDITS.map(lambda edits: lambda data: edited(data, edits)),
                   st.integers(0, 2**14).map(lambda end: lambda data: data[:end]),
                   st.lists(st.integers(0, 2**17), min_size=1, max_size=3).map(
                       lambda bits: lambda data: flipped(data, bits)))
TENSOR = WHOLE.index(torch.arange(1., 13).numpy().tobytes())


@pytest.mark.parametrize('number', range(4))
@given(damage=DAMAGE)
@example(damage=lambda data: flipped(data, [8 * TENSOR]))
def test_damage(number, damage, whole):
    """Bytes in place of others, the end cut off, other bits: the same content is read, or none.

    Of torch's older layout other values may be read, but nothing else happens; Python asks for as many bytes as a text
    states there, up to 4 GiB, and gives back what the file does not fill.
    """
    path, data, reader, unchecked = whole[number]
    path.write_bytes(data)
    before = reader(str(path))
    path.write_bytes(damage(data))
    content = read(path, reader, 2**40 if unchecked else 2**25)
    use(content)
    assert unchecked or content is None or same(content, before)


# -- run-lengths of COCO -----------------------------------------------------------------------------------------------
@given(runs=RUNS.map(text_of) | TEXT)
def test_run_lengths_that_pass_cover_the_image(runs):
    """What passes is decoded by pycocotools, which writes wherever the runs lead it."""
    try:
        found = run_lengths(runs)
        check_runs(found, SIZE)
    except (ValueError, OverflowError):
        return
    assert 0 <= found.min() and sum(map(int, found)) == SIZE[0] * SIZE[1]
    rle = dict(size=list(SIZE), counts=runs)
    assert decode_masks([rle], SIZE).sum() == rle_areas([rle])[0] == sum(map(int, found[1::2]))
