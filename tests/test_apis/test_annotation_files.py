"""Masks in other formats: read back by what each format says, and by the programs that they are for."""
import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from mmiam.apis.annotation_files import FORMATS, polygons, write_annotations
from mmiam.utils.rle import encode_masks

HEIGHT, WIDTH = 97, 131  # sides that divide nothing
SIZE = HEIGHT, WIDTH
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
MASKS = np.zeros((3, HEIGHT, WIDTH), bool)
MASKS[0] = ((ROWS - 30) / 22)**2 + ((COLUMNS - 40) / 31)**2 < 1  # its box begins with background
MASKS[1, 40:, 60:], MASKS[1, 80:, 100:110] = True, False  # begins with the mask; reaches the border
MASKS[2, 70:80, 5:20], MASKS[2, 85:90, 5:10] = True, True  # two regions


@pytest.fixture
def write(tmp_path):
    """``write(form)`` of two photos of one name in two folders, the second without a mask, into the folder ``out``."""
    images, names = [], {}
    for number, name in enumerate(('a/a cat.jpg', 'b/a cat.jpg'), 1):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path)
        images.append(dict(id=number, file_name=str(path), height=HEIGHT, width=WIDTH))
        names[str(path)] = name
    annotations = [dict(id=i, image_id=1, category_id=category, segmentation=rle, score=1 - 0.1 * i)
                   for i, (category, rle) in enumerate(zip((4, 7, 7), encode_masks(MASKS)))]
    content = dict(images=images, annotations=annotations, categories=[dict(id=4, name='cat'), dict(id=7, name='dog')])
    return lambda form: write_annotations(content, str(tmp_path / 'out'), form, names)


@pytest.mark.parametrize('form, files', [
    ('png', ['masks/a/a cat.png', 'masks/b/a cat.png', 'masks/legend.json']),
    ('yolo', ['data.yaml', 'labels/a/a cat.txt', 'labels/b/a cat.txt']),
    ('labelme', ['labelme/a/a cat.json', 'labelme/b/a cat.json']), ('cvat', ['annotations.xml'])])
def test_every_format_has_both_photos(write, form, files, tmp_path):
    paths = write(form)
    assert all((tmp_path / path).exists() for path in paths)
    found = [path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert sorted(found) == files and form in FORMATS


def test_png(write, tmp_path):
    write('png')
    picture = Image.open(tmp_path / 'out/masks/a/a cat.png')
    indices = np.array(picture)
    assert picture.mode == 'P' and np.array_equal(indices == 1, MASKS[0])
    assert np.array_equal(indices == 2, MASKS[1] & ~MASKS[0]) and (MASKS[1] & MASKS[0]).any()  # the better one on top
    assert not np.array(Image.open(tmp_path / 'out/masks/b/a cat.png')).any()
    legend = json.loads((tmp_path / 'out/masks/legend.json').read_text())
    assert legend['a/a cat.png']['2'] == dict(label='dog', score=0.9) and legend['b/a cat.png'] == {}


def fill(points):
    """Mask of an outline whose points are pixels."""
    return cv2.fillPoly(np.zeros(SIZE, np.uint8), [np.round(points).astype(np.int32)], 1) > 0


def test_yolo(write, tmp_path):
    write('yolo')
    data, lines = yaml.safe_load((tmp_path / 'out/data.yaml').read_text()), tmp_path / 'out/labels/a/a cat.txt'
    assert data == dict(train='images', val='images', names={0: 'cat', 1: 'dog'})
    classes, *outlines = zip(*((line.split()[0], np.array(line.split()[1:], float).reshape(-1, 2))
                               for line in lines.read_text().splitlines()))
    assert classes == ('0', '1', '1') and (tmp_path / 'out/labels/b/a cat.txt').read_text() == ''
    first, second, third = (fill(points * (WIDTH, HEIGHT) - 0.5) for points in outlines[0])
    assert np.array_equal(first, MASKS[0]) and np.array_equal(second, MASKS[1])
    assert third.sum() == 10 * 15  # the larger region


def test_labelme(write, tmp_path):
    write('labelme')
    file = json.loads((tmp_path / 'out/labelme/a/a cat.json').read_text())
    shapes, (cat, dog, *regions) = file['shapes'], [fill(np.array(shape['points'])) for shape in file['shapes']]
    assert (file['imageHeight'], file['imageWidth']) == SIZE
    assert [shape['label'] for shape in shapes] == ['cat', 'dog', 'dog', 'dog']
    assert [shape['group_id'] for shape in shapes] == [None, None, 3, 3]
    assert np.array_equal(cat, MASKS[0]) and np.array_equal(dog, MASKS[1])
    assert np.array_equal(regions[0] | regions[1], MASKS[2])


def test_cvat(write, tmp_path):
    write('cvat')
    images = ElementTree.parse(tmp_path / 'out/annotations.xml').getroot().findall('image')
    assert [image.get('name') for image in images] == ['a/a cat.jpg', 'b/a cat.jpg'] and len(images[1]) == 0
    for node, mask in zip(images[0].findall('mask'), MASKS):
        runs = [int(run) for run in node.get('rle').split(', ')]
        left, top, width, height = (int(node.get(key)) for key in ('left', 'top', 'width', 'height'))
        found = np.zeros(SIZE, bool)
        found[top:top + height, left:left + width] = np.repeat(
            np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        assert np.array_equal(found, mask)


def test_outlines_are_largest_first_and_nothing_has_none():
    assert [len(polygons(mask)) for mask in MASKS] == [1, 1, 2] and polygons(np.zeros((4, 4), bool)) == []
    assert polygons(MASKS[2])[0][:, 1].min() == 70


def test_yolo_files_are_a_data_set_of_ultralytics(write, tmp_path):
    data = pytest.importorskip('ultralytics.data', reason='ultralytics is not installed (pip install ultralytics)')
    from ultralytics.cfg import get_cfg
    from ultralytics.data.utils import check_det_dataset, polygon2mask, verify_image_label
    write('yolo')
    (tmp_path / 'photos').rename(tmp_path / 'out/images')  # as the page says
    _, boxes, shape, segments, _, missing, found, empty, corrupt, message = verify_image_label(
        (str(tmp_path / 'out/images/a/a cat.jpg'), str(tmp_path / 'out/labels/a/a cat.txt'), '', False, 2, 0, 0, False))
    assert (missing, found, empty, corrupt, message) == (0, 1, 0, 0, '') and tuple(shape) == SIZE
    assert boxes[:, 0].tolist() == [0, 1, 1]
    for segment, mask in zip(segments[:2], MASKS):
        assert np.array_equal(polygon2mask(SIZE, [(segment * (WIDTH, HEIGHT)).ravel()]) > 0, mask)
    info = check_det_dataset(str(tmp_path / 'out/data.yaml'), autodownload=False)
    assert info['names'] == {0: 'cat', 1: 'dog'} and info['nc'] == 2
    settings = get_cfg(overrides=dict(task='segment', imgsz=256, mask_ratio=1, overlap_mask=False))
    dataset = data.build_yolo_dataset(settings, info['train'], 2, info, mode='val')
    assert [len(dataset[i]['cls']) for i in range(len(dataset))] == [3, 0]


def test_labelme_files_open_in_labelme(write, tmp_path, monkeypatch):
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    module = pytest.importorskip('labelme._label_file', reason='labelme 6 is not installed (pip install labelme)')
    from labelme.utils import shape_to_mask
    write('labelme')
    file = module.read_label_file(str(tmp_path / 'out/labelme/a/a cat.json'))
    assert len(file.image_data) > 1000 and [shape['label'] for shape in file.shapes] == ['cat', 'dog', 'dog', 'dog']
    cat, dog, *regions = (shape_to_mask(SIZE, shape['points'], shape['shape_type']) for shape in file.shapes)
    assert np.array_equal(cat, MASKS[0]) and np.array_equal(dog, MASKS[1])
    assert np.array_equal(regions[0] | regions[1], MASKS[2])
    assert module.read_label_file(str(tmp_path / 'out/labelme/b/a cat.json')).shapes == []
