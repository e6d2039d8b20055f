"""Masks in other formats, read back by what each format says."""
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmiam.apis.annotation_files import FORMATS, polygons, write_annotations
from mmiam.utils.rle import encode_masks

MASKS = np.zeros((3, 20, 30), bool)
MASKS[0, 0:8, 0:12] = True  # begins with the first pixel of its box
MASKS[1, 5:15, 10:25] = True
MASKS[1, 5:9, 10:14] = False  # begins with background
MASKS[2, 16:19, 2:9], MASKS[2, 12:14, 2:5] = True, True  # two regions


@pytest.fixture
def content():
    """Two photos of one name in two folders, the second without a mask."""
    images = [dict(id=i, file_name=f'{folder}/cat.jpg', height=20, width=30) for i, folder in enumerate('ab', 1)]
    annotations = [dict(id=i, image_id=1, category_id=category, segmentation=rle, score=1 - 0.1 * i)
                   for i, (category, rle) in enumerate(zip((4, 7, 7), encode_masks(MASKS)))]
    return dict(images=images, annotations=annotations, categories=[dict(id=4, name='cat'), dict(id=7, name='dog')])


NAMES = {'a/cat.jpg': 'a/cat.jpg', 'b/cat.jpg': 'b/cat.jpg'}


def test_every_format_has_both_photos(content, tmp_path):
    for form in FORMATS:
        for path in write_annotations(content, str(tmp_path / form), form, NAMES):
            assert (tmp_path / path).exists()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*') if path.is_file()} == {
        'png/masks/a/cat.png', 'png/masks/b/cat.png', 'png/masks/legend.json', 'yolo/labels/a/cat.txt',
        'yolo/labels/b/cat.txt', 'yolo/data.yaml', 'labelme/labelme/a/cat.json', 'labelme/labelme/b/cat.json',
        'cvat/annotations.xml'}


def test_png(content, tmp_path):
    write_annotations(content, str(tmp_path), 'png', NAMES)
    picture = Image.open(tmp_path / 'masks/a/cat.png')
    indices = np.array(picture)
    assert picture.mode == 'P' and np.array_equal(indices == 1, MASKS[0])
    assert np.array_equal(indices == 2, MASKS[1] & ~MASKS[0])  # the better one lies on top
    assert not np.array(Image.open(tmp_path / 'masks/b/cat.png')).any()
    legend = json.loads((tmp_path / 'masks/legend.json').read_text())
    assert legend['a/cat.png']['2'] == dict(label='dog', score=0.9) and legend['b/cat.png'] == {}


def test_yolo(content, tmp_path):
    import yaml
    write_annotations(content, str(tmp_path), 'yolo', NAMES)
    assert yaml.safe_load((tmp_path / 'data.yaml').read_text()) == dict(
        train='images', val='images', names={0: 'cat', 1: 'dog'})
    lines = [line.split() for line in (tmp_path / 'labels/a/cat.txt').read_text().splitlines()]
    assert [line[0] for line in lines] == ['0', '1', '1'] and (tmp_path / 'labels/b/cat.txt').read_text() == ''
    for line, mask in zip(lines[:2], MASKS):
        values = np.array(line[1:], float).reshape(-1, 2)
        assert values.min() >= 0 and values.max() <= 1
        assert np.array_equal(fill(values * (30, 20) - 0.5), mask)
    assert fill(np.array(lines[2][1:], float).reshape(-1, 2) * (30, 20) - 0.5).sum() == 3 * 7  # the larger region


def fill(points):
    """Mask of an outline whose points are pixels."""
    picture = Image.new('1', (30, 20))
    ImageDraw.Draw(picture).polygon([tuple(np.round(point).astype(int)) for point in points], fill=1, outline=1)
    return np.array(picture)


def test_labelme(content, tmp_path):
    write_annotations(content, str(tmp_path), 'labelme', NAMES)
    file = json.loads((tmp_path / 'labelme/a/cat.json').read_text())
    assert (file['imageHeight'], file['imageWidth']) == (20, 30)
    assert [shape['label'] for shape in file['shapes']] == ['cat', 'dog', 'dog', 'dog']
    assert file['shapes'][0]['group_id'] is None and {s['group_id'] for s in file['shapes'][2:]} == {3}
    assert np.array_equal(fill(file['shapes'][1]['points']), MASKS[1])
    regions = fill(file['shapes'][2]['points']) | fill(file['shapes'][3]['points'])
    assert np.array_equal(regions, MASKS[2])


def test_cvat(content, tmp_path):
    write_annotations(content, str(tmp_path), 'cvat', NAMES)
    images = ElementTree.parse(tmp_path / 'annotations.xml').getroot().findall('image')
    assert [image.get('name') for image in images] == ['a/cat.jpg', 'b/cat.jpg'] and len(images[1]) == 0
    for node, mask in zip(images[0].findall('mask'), MASKS):
        runs = [int(run) for run in node.get('rle').split(', ')]
        left, top, width, height = (int(node.get(key)) for key in ('left', 'top', 'width', 'height'))
        found = np.zeros((20, 30), bool)
        found[top:top + height, left:left + width] = np.repeat(
            np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        assert np.array_equal(found, mask)


def test_outlines_are_largest_first_and_nothing_has_none():
    assert [len(polygons(MASKS[i])) for i in range(3)] == [1, 1, 2] and polygons(np.zeros((4, 4), bool)) == []
    assert polygons(MASKS[2])[0][:, 1].min() == 16
