"""Damaged and hostile annotations: readers of data sets raise what the user can act on, and nothing else."""
import io
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmiam.datasets.image_lists import read_image_list
from mmiam.datasets.mask_files import load_voc_instances
from mmiam.datasets.voc_labels import labels_from_imagesets, read_objects
from mmiam.evaluation.dump import load_dump
from mmiam.models.baselines.detection_file_boxes import load_detections
from mmiam.utils.checked_json import write_checked_json
from mmiam.utils.images import check_image_file, image_size

CLASSES = ('cat', 'dog')
XML = (b'<annotation><size><width>32</width><height>24</height></size><object><name>cat</name></object>'
       b'<object><name>cow</name></object></annotation>')

def picture(kind):
    file = io.BytesIO()
    image = Image.fromarray((np.arange(12 * 10).reshape(12, 10) % 4).astype(np.uint8))
    image.convert('P' if kind == 'PNG' else 'RGB').save(file, kind)
    return file.getvalue()


def imagesets(path):
    (path.parent / 'cat_x.txt').write_bytes(path.read_bytes())
    (path.parent / 'dog_x.txt').write_bytes(path.read_bytes())
    labels_from_imagesets(str(path.parent), 'x', CLASSES, ['a', 'b'])


READERS = {
    'list.txt': (b'2007_000032\n2007_000039\n', lambda path: read_image_list(str(path))),
    'flags.txt': (b'a  1\nb -1\n', imagesets),
    'a.xml': (XML, lambda path: read_objects(str(path))),
    'mask.png': (picture('PNG'), lambda path: load_voc_instances(str(path), str(path), {1: 0, 2: 1})),
    'a.jpg': (picture('JPEG'), lambda path: (check_image_file(str(path)), image_size(str(path)))),
    'a.png': (picture('PNG'), lambda path: (check_image_file(str(path)), image_size(str(path)))),
    'found.json': (json.dumps(dict(detections=[dict(image_id='a', score=.5, bbox=[0, 0, 2, 2], **{'class': 'cat'})]))
                   .encode(), lambda path: load_detections(str(path), CLASSES)),
    'dump.json': (json.dumps(dict(format='mmiam-instances-1', classes=CLASSES, pred_field='p', images=[])).encode(),
                  lambda path: load_dump(str(path))),
}


@pytest.mark.parametrize('name', READERS)
def test_pickles_and_nonsense(name, tmp_path):
    path = tmp_path / name
    for content in (pickle.dumps({'a': 1}), b'', b'\x00' * 40, '\udcff'.encode('utf-8', 'surrogatepass')):
        path.write_bytes(content)
        with pytest.raises((ValueError, OSError)):
            READERS[name][1](path)


VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
                      lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(
                          st.sampled_from(['image_id', 'class', 'score', 'bbox', 'detections', 'images', 'img_id']),
                          inner, max_size=5)), max_leaves=12)


@settings(max_examples=200, deadline=None, database=None)
@given(content=VALUES)
def test_any_json(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / 'any_annotation.json'
    for value, reader in ((dict(detections=content), lambda: load_detections(str(path), CLASSES)),
                          (dict(detections=[content]), lambda: load_detections(str(path), CLASSES)),
                          (dict(format='mmiam-instances-1', classes=CLASSES, pred_field='p', images=content),
                           lambda: load_dump(str(path)))):
        write_checked_json(path, value)
        try:
            reader()
        except ValueError as error:
            assert str(path) in str(error)


def test_xml_entities_are_not_expanded_or_read(tmp_path):
    lines = ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 20}">' for i in range(1, 10))
    bomb = (f'<!DOCTYPE a [<!ENTITY l0 "{"x" * 1000}">{lines}]>'
            '<annotation><object><name>&l9;</name></object></annotation>')
    foreign = ('<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
               '<annotation><object><name>&f;</name></object></annotation>')
    for content in (bomb, foreign):
        (tmp_path / 'a.xml').write_text(content)
        with pytest.raises(ValueError, match='a.xml'):
            read_objects(str(tmp_path / 'a.xml'))


@pytest.mark.parametrize('line', ['../a', '/etc/passwd', 'a/b', '..', 'a\\b', 'a\x07'])
def test_ids_name_no_folder(line, tmp_path):
    (tmp_path / 'list.txt').write_text(line)
    with pytest.raises(ValueError, match='is not an image id'):
        read_image_list(str(tmp_path / 'list.txt'))
