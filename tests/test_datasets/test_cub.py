import shutil

import pytest
from mmdet.registry import DATASETS
from support import BIRDS, CUB_CLASSES, build_mini_cub

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='PackWeakInputs')]


@pytest.fixture
def root(tmp_path):
    return build_mini_cub(tmp_path / 'CUB_200_2011')


def build(root, test_mode=True, **kwargs):
    return DATASETS.build(dict(type='CUBDataset', data_root=str(root), test_mode=test_mode, pipeline=PIPELINE,
                               **kwargs))


def test_test_samples(root):
    data = build(root)
    assert data.metainfo['classes'] == CUB_CLASSES and len(data) == 2
    first, last = (data[index]['data_samples'] for index in range(2))
    assert (first.img_id, first.image_labels, last.img_id, last.image_labels) == ('1', [0], '3', [1])
    assert first.instances == [dict(bbox=[3.0, 2.0, 23.5, 12.0], bbox_label=0, ignore_flag=0)]
    assert last.instances[0]['bbox'] == [0., 0., 32., 24.]
    assert first.ori_shape == (24, 32) and first.img_shape == (16, 16)
    assert data[0]['inputs'].shape == (3, 16, 16)


def test_training_samples_have_no_box_and_need_none(root):
    (root / 'bounding_boxes.txt').unlink()
    data = build(root, False, split='train')
    sample = data[0]['data_samples']
    assert len(data) == 1 and sample.img_id == '2' and 'instances' not in sample
    assert len(build(root, False, split='all', metainfo=dict(classes=('a', 'b')))) == 3


@pytest.mark.parametrize('name', ['images.txt', 'image_class_labels.txt', 'train_test_split.txt', 'bounding_boxes.txt',
                                  'classes.txt'])
def test_a_missing_or_empty_file_is_named(name, root):
    (root / name).write_text('')
    with pytest.raises(ValueError, match=f'{name} is empty'):
        build(root)
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=f'{name} does not exist; data_root must be the folder CUB_200_2011'):
        build(root)


@pytest.mark.parametrize('name, line, message', [
    ('images.txt', '9', 'images.txt, line 4: .*expected'),
    ('images.txt', '9 ../../secret.jpg', 'images.txt, line 4'),
    ('images.txt', '9 /etc/secret.jpg', 'images.txt, line 4'),
    ('images.txt', '1 a/b.jpg', 'images.txt, line 4: number 1 is there twice'),
    ('images.txt', '9 a/b.jpg', r'image_class_labels.txt has no line for image 9 \(a/b.jpg; 1 of 4'),
    ('image_class_labels.txt', '9 x', 'image_class_labels.txt, line 4'),
    ('train_test_split.txt', '9 2', 'train_test_split.txt, line 4: .*1 for training'),
    ('bounding_boxes.txt', '9 1 2 3', 'bounding_boxes.txt, line 4: .*<width>'),
    ('bounding_boxes.txt', '9 1 2 0 5', 'bounding_boxes.txt, line 4'),
    ('bounding_boxes.txt', '9 nan 2 3 5', 'bounding_boxes.txt, line 4'),
    ('classes.txt', '4 003.Auk', 'classes.txt: the classes must be numbered'),
    ('classes.txt', f'3 {CUB_CLASSES[0]}', 'classes.txt names a class twice')])
def test_a_bad_line_is_named(name, line, message, root):
    with open(root / name, 'a') as file:
        file.write(line + '\n')
    with pytest.raises(ValueError, match=message):
        build(root)


def test_missing_images_classes_and_splits(root):
    (root / 'images' / BIRDS[2][1]).unlink()
    with pytest.raises(FileNotFoundError, match=r'Laysan_Albatross_0001_545.jpg does not exist \(1 of 2 .*images.txt'):
        build(root)
    with pytest.raises(ValueError, match='image_class_labels.txt: image 3 has class 2, and there are 1'):
        build(root, metainfo=dict(classes=('a', )))
    (root / 'train_test_split.txt').write_text('1 0\n2 0\n3 0\n')
    with pytest.raises(ValueError, match="train_test_split.txt puts no image into 'train'"):
        build(root, split='train')
    with pytest.raises(ValueError, match='split must be one of'):
        build(root, split='val')
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match='classes.txt'):
        build(root)
