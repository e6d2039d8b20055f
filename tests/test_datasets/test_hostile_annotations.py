"""Damaged and hostile annotations: readers of data sets raise what the user can act on, and nothing else."""
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmiam.datasets.image_labels import labels_from_imagesets, read_image_list, read_objects
from mmiam.datasets.mask_files import load_voc_instances
from mmiam.datasets.tag_files.coco_json import read_coco
from mmiam.datasets.tag_files.csv_files import read_csv
from mmiam.datasets.tag_files.names import safe_name
from mmiam.models.baselines.detection_file_boxes import load_detections
from mmiam.utils.images import check_image_file

READERS = {
    'list.txt': read_image_list, 'cat_x.txt': lambda path: labels_from_imagesets(path[:-9], 'x', ['cat'], ['a', 'b']),
    'a.xml': read_objects, 'a.jpg': check_image_file, 'mask.png': lambda path: load_voc_instances(path, path, {1: 0}),
    'found.json': lambda path: load_detections(path, ('cat', 'dog')), 'tags.csv': read_csv, 'tags.json': read_coco}


@pytest.mark.parametrize('name', READERS)
def test_pickles_and_nonsense(name, tmp_path):
    for content in (pickle.dumps({'a': 1}), b'', b'\x00' * 40, '\udcff'.encode('utf-8', 'surrogatepass'),
                    b'[' * 100_000, b'3'):
        (tmp_path / name).write_bytes(content)
        if (name, content) not in (('list.txt', b'3'), ('list.txt', b'[' * 100_000)):  # names of images
            with pytest.raises((ValueError, OSError), match=name):
                READERS[name](str(tmp_path / name))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('any')


KEYS = ['image_id', 'class', 'score', 'bbox', 'id', 'name', 'file_name', 'category_id', 'category_ids']
JSON = st.recursive(st.none() | st.booleans() | st.integers(-2, 3) | st.integers() | st.floats() | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner,
                                                                                max_size=5), max_leaves=12)


@given(content=st.dictionaries(st.sampled_from(['images', 'categories', 'annotations', 'detections']),
                               JSON | st.lists(JSON, max_size=3)))
def test_any_json(content, folder):
    for name in ('found.json', 'tags.json'):
        (folder / name).write_text(json.dumps(content))
        try:
            tagged = READERS[name](str(folder / name))
        except ValueError as error:
            assert name in str(error)
        else:
            assert name == 'found.json' or all(tag in tagged.classes for one in tagged.images for tag in one.tags)


@given(content=st.binary(max_size=40) | st.text(alphabet='a,;"\n\r/.\\\0 ', max_size=40).map(str.encode))
def test_any_csv(content, folder):
    (folder / 'tags.csv').write_bytes(content)
    try:
        tagged = read_csv(str(folder / 'tags.csv'))
    except ValueError as error:
        assert 'tags.csv' in str(error)
    else:
        assert all(safe_name(image.name, '') == image.name for image in tagged.images)


BOMB = ('<!DOCTYPE a [<!ENTITY l0 "' + 'x' * 1000 + '">'
        + ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 20}">' for i in range(1, 10)) + ']>')


@pytest.mark.parametrize('head', [BOMB, '<!DOCTYPE a [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>'])
def test_xml_entities_are_not_expanded_or_read(head, tmp_path):
    (tmp_path / 'a.xml').write_text(head + '<annotation><object><name>&l9;</name></object></annotation>')
    with pytest.raises(ValueError, match='a.xml'):
        read_objects(str(tmp_path / 'a.xml'))
