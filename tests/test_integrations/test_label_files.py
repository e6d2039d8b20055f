"""YOLO-seg, LabelMe and CVAT files read by the programs that they are for."""
import numpy as np
import pytest
from PIL import Image

from mmiam.apis.annotation_files import write_annotations
from mmiam.utils.rle import encode_masks

HEIGHT, WIDTH = 97, 131  # sides that divide nothing


@pytest.fixture
def masks():
    """An ellipse, a shape with corners, and two regions."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    found = np.zeros((3, HEIGHT, WIDTH), bool)
    found[0] = ((rows - 30) / 22)**2 + ((columns - 40) / 31)**2 < 1
    found[1, 60:, 90:], found[1, 80:, 100:110] = True, False  # reaches the border
    found[2, 70:80, 5:20], found[2, 85:90, 5:10] = True, True
    return found


@pytest.fixture
def content(masks, tmp_path):
    """Two photos with names as people give them, the second without a mask."""
    (tmp_path / 'photos').mkdir()
    images = []
    for number, name in enumerate(('a cat.jpg', 'b.png'), 1):
        path = tmp_path / 'photos' / name
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
        images.append(dict(id=number, file_name=str(path), height=HEIGHT, width=WIDTH))
    annotations = [dict(id=i, image_id=1, category_id=category, segmentation=rle, score=1 - 0.1 * i)
                   for i, (category, rle) in enumerate(zip((4, 7, 7), encode_masks(masks)))]
    return dict(images=images, annotations=annotations, categories=[dict(id=4, name='cat'), dict(id=7, name='dog')])


def test_yolo_files_are_a_data_set_of_ultralytics(content, masks, tmp_path):
    data = pytest.importorskip('ultralytics.data', reason='ultralytics is not installed (pip install ultralytics)')
    from ultralytics.data.utils import check_det_dataset, polygon2mask, verify_image_label
    write_annotations(content, str(tmp_path / 'out'), 'yolo')
    (tmp_path / 'photos').rename(tmp_path / 'out/images')  # as the page says
    label = tmp_path / 'out/labels/a cat.txt'
    _, boxes, shape, segments, _, missing, found, empty, corrupt, message = verify_image_label(
        (str(tmp_path / 'out/images/a cat.jpg'), str(label), '', False, 2, 0, 0, False))
    assert (missing, found, empty, corrupt, message) == (0, 1, 0, 0, '') and tuple(shape) == (HEIGHT, WIDTH)
    assert boxes[:, 0].tolist() == [0, 1, 1]
    for segment, mask in zip(segments[:2], masks):
        drawn = polygon2mask((HEIGHT, WIDTH), [(segment * (WIDTH, HEIGHT)).ravel()]) > 0
        assert np.array_equal(drawn, mask)
    info = check_det_dataset(str(tmp_path / 'out/data.yaml'), autodownload=False)
    assert info['names'] == {0: 'cat', 1: 'dog'} and info['nc'] == 2
    from ultralytics.cfg import get_cfg
    dataset = data.build_yolo_dataset(get_cfg(overrides=dict(task='segment', imgsz=256, mask_ratio=1,
                                                             overlap_mask=False)), info['train'], 2, info, mode='val')
    items = {item['im_file'].rsplit('/', 1)[-1]: item for item in (dataset[i] for i in range(len(dataset)))}
    assert {name: len(item['cls']) for name, item in items.items()} == {'a cat.jpg': 3, 'b.png': 0}


def test_labelme_files_open_in_labelme(content, masks, tmp_path, monkeypatch):
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    pytest.importorskip('labelme', reason='labelme is not installed (pip install labelme)')
    try:
        from labelme._label_file import read_label_file
    except ImportError:  # before version 6
        from labelme.label_file import LabelFile

        def read_label_file(name):
            file = LabelFile(name)
            return type('Data', (), dict(shapes=file.shapes, image_data=file.imageData))
    from labelme.utils import shape_to_mask
    write_annotations(content, str(tmp_path), 'labelme')
    file = read_label_file(str(tmp_path / 'labelme/a cat.json'))
    assert len(file.image_data) > 1000 and [shape['label'] for shape in file.shapes] == ['cat', 'dog', 'dog', 'dog']
    drawn = [shape_to_mask((HEIGHT, WIDTH), shape['points'], shape['shape_type']) for shape in file.shapes]
    assert np.array_equal(drawn[0], masks[0]) and np.array_equal(drawn[1], masks[1])
    assert np.array_equal(drawn[2] | drawn[3], masks[2])
    assert file.shapes[2]['group_id'] == file.shapes[3]['group_id'] != file.shapes[1]['group_id']
    assert read_label_file(str(tmp_path / 'labelme/b.json')).shapes == []
