import os

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from PIL import Image
from support import MINI_CLASSES

from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.utils.rle import decode_masks

LOAD = dict(type='LoadImageFromFile')
TRAIN = [LOAD, dict(type='Resize', scale=(16, 16), keep_ratio=False), dict(type='RandomFlip', prob=0.5),
         dict(type='PackWeakInputs')]
TEST = [LOAD, dict(type='Resize', scale=(16, 16), keep_ratio=False), dict(type='LoadVOCInstances'),
        dict(type='PackWeakInputs')]


def dataset(root, split='train', **kwargs):
    kwargs.setdefault('pipeline', TRAIN if split == 'train' else TEST)
    kwargs.setdefault('test_mode', split == 'val')
    return DATASETS.build(dict(type='VOCInstanceDataset', data_root=str(root),
                               ann_file=f'ImageSets/Segmentation/{split}.txt', **kwargs))


def names(labels):
    return [VOC_CLASSES[label] for label in labels]


@pytest.mark.parametrize('source', ['annotations', 'imagesets'])
def test_training_entries(mini_voc, source):
    data = dataset(mini_voc(), label_source=source)
    entries = [data.get_data_info(i) for i in range(len(data))]
    assert [e['img_id'] for e in entries] == ['t0', 't1', 't2']  # t3 has no label
    # the person of t1 is difficult only: positive
    assert [names(e['image_labels']) for e in entries] == [['cat'], ['dog', 'person'], ['cat']]
    assert all((e['height'], e['width']) == (24, 32) for e in entries)
    assert not [key for e in entries for key in e if 'mask' in key or 'box' in key or 'instances' in key]
    assert data.get_cat_ids(1) == entries[1]['image_labels']


def test_images_without_label_are_counted_and_logged(mini_voc, logged):
    data = dataset(mini_voc())
    assert '1 of 4 images left out: no image-level label' in logged[0]
    assert len(data) == 3
    assert len(dataset(mini_voc(), filter_cfg=dict(filter_empty_gt=False))) == 4
    assert len(dataset(mini_voc(), split='train', test_mode=True, pipeline=TEST)) == 4
    with pytest.raises(ValueError, match='none of the 4 images'):
        dataset(mini_voc(), metainfo=dict(classes=('boat', )))
    with pytest.raises(ValueError, match='none of the 4 images'):
        dataset(mini_voc(), filter_cfg=dict(min_size=25))


@pytest.mark.parametrize('config, train, test', [
    (dict(exclude_classes=('dog', )), ['t0', 't2'], ['t0', 't2', 't3']),  # at test t3, without any label, stays
    (dict(exclude_classes=('person', 'cat')), [], ['t3']),
    (dict(keep_classes='cat'), ['t0', 't2'], ['t0', 't2']),
    (dict(keep_classes=('person', 'boat')), ['t1'], ['t1']),
    (dict(keep_classes=('cat', 'dog'), exclude_classes=('person', )), ['t0', 't2'], ['t0', 't2']),
])
def test_images_of_some_classes(config, train, test, mini_voc, logged):
    """Held-out classes: of training and of test, whatever else the image shows."""
    root = mini_voc()
    for kwargs, expected in ((dict(), train), (dict(test_mode=True, pipeline=TEST), test)):
        if not expected:
            with pytest.raises(ValueError, match='train.txt: none of the 4 images .* passes filter_cfg.*person'):
                dataset(root, filter_cfg=config, **kwargs)
            continue
        data = dataset(root, filter_cfg=config, **kwargs)
        assert [data.get_data_info(i)['img_id'] for i in range(len(data))] == expected
    if 'exclude_classes' in config:
        assert 'images left out: has an excluded class (exclude_classes)' in logged[0]


@pytest.mark.parametrize('config, message', [
    (dict(exclude_classes=('dgo', )), r"filter_cfg\['exclude_classes'\] names \['dgo'\]"),
    (dict(keep_classes='tiger'), r"filter_cfg\['keep_classes'\] names \['tiger'\]"),
    (dict(exclude_class=('dog', )), r"filter_cfg has no \['exclude_class'\]"),
])
def test_a_slip_of_the_pen_holds_nothing_out_and_is_reported(config, message, mini_voc):
    with pytest.raises(ValueError, match=message):
        dataset(mini_voc(), filter_cfg=config)


def test_test_samples_have_ground_truth(mini_voc):
    root = mini_voc()
    data = dataset(root, 'val')
    sample = data[1]['data_samples']
    assert names(i['bbox_label'] for i in sample.instances) == ['cat', 'person']
    assert sample.instances[0]['bbox'] == [2, 3, 11, 11]  # without the void border, original pixels
    truth = np.array(Image.open(root / 'SegmentationObject/v1.png'))
    masks = decode_masks([i['mask'] for i in sample.instances], (24, 32))
    np.testing.assert_array_equal(masks, [truth == 1, truth == 2])
    np.testing.assert_array_equal(decode_masks([sample.void_mask], (24, 32))[0], truth == 255)
    assert sample.ori_shape == (24, 32) and sample.img_shape == (16, 16)
    assert names(sample.image_labels) == ['cat', 'person']
    sample = dataset(root, split='train', test_mode=True, pipeline=TEST)[3]['data_samples']  # without object
    assert sample.instances == [] and sample.void_mask is None and sample.image_labels == []


def test_boxes_and_masks_never_reach_training(mini_voc, monkeypatch):
    """Other boxes and masks give bit-identical samples, and no mask file is opened."""
    first, second = mini_voc(), mini_voc(perturb=True)
    for folder in ('Annotations', 'SegmentationClass', 'SegmentationObject'):
        for name in ('t0', 't1', 't2'):
            file = next((first / folder).glob(f'{name}.*')).relative_to(first)
            assert (first / file).read_bytes() != (second / file).read_bytes()

    def samples(root):
        np.random.seed(0)
        data = dataset(root)
        opened = []
        real = Image.open
        monkeypatch.setattr(Image, 'open', lambda path, *a: opened.append(str(path)) or real(path, *a))
        result = [data[i] for i in range(len(data))]
        monkeypatch.undo()
        assert not [path for path in opened if 'Segmentation' in path]
        return result

    for a, b in zip(samples(first), samples(second)):
        torch.testing.assert_close(a['inputs'], b['inputs'], rtol=0, atol=0)
        left, right = a['data_samples'].to_dict(), b['data_samples'].to_dict()
        left.pop('img_path'), right.pop('img_path')
        assert left == right
        assert set(left) == {'img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'image_labels'} | (
            {'flip_direction'} & set(left))


def test_training_needs_no_mask_folder(mini_voc):
    root = mini_voc()
    for folder in ('SegmentationClass', 'SegmentationObject'):
        os.rename(root / folder, root / f'{folder}_gone')
    assert len([sample for sample in dataset(root)]) == 3


def test_size_from_the_image_where_the_annotation_has_none(mini_voc):
    root = mini_voc()
    (root / 'Annotations/t0.xml').write_text('<annotation><object><name>cat</name></object></annotation>')
    entry = dataset(root).get_data_info(0)
    assert (entry['height'], entry['width']) == (24, 32)
    assert len(dataset(root, filter_cfg=dict(min_size=24))) == 3


def test_class_subset_keeps_the_masks_meaning(mini_voc):
    data = dataset(mini_voc(), 'val', metainfo=dict(classes=['person', 'cat']), mask_classes='voc')
    assert data.metainfo['classes'] == ('person', 'cat')
    assert data.metainfo['palette'] == [(192, 128, 128), (64, 0, 0)]  # VOC's colors of these two
    assert [data[i]['data_samples'].image_labels for i in range(2)] == [[], [0, 1]]
    assert [i['bbox_label'] for i in data[1]['data_samples'].instances] == [1, 0]
    assert data[0]['data_samples'].instances == []


@pytest.mark.parametrize('classes', [('cat', 'dog', 'person'), ('bird', 'aeroplane', 'bus'), ('fox', 'owl', 'eel')])
def test_own_data_in_the_same_layout(mini_voc, classes):
    """Index 1 of the masks is the first class, whatever VOC numbers it; an index beyond the classes is refused."""
    root = mini_voc()
    with pytest.raises(ValueError, match=r"v0.png holds class index 12, and 3 classes are named.* mask_classes.*'voc'"):
        dataset(root, 'val', metainfo=dict(classes=MINI_CLASSES))[0]
    for file in (root / 'Annotations').iterdir():
        text = file.read_text()
        for old, new in zip(MINI_CLASSES, classes):
            text = text.replace(f'>{old}<', f'> {new} <')
        file.write_text(text)
    for file in (root / 'SegmentationClass').iterdir():
        index = np.array(Image.open(file)).astype(int)
        for number, old in enumerate(MINI_CLASSES, 1):
            index[index == VOC_CLASSES.index(old) + 1] = number
        Image.fromarray(index.astype(np.uint8)).save(file)
    data = dataset(root, 'val', metainfo=dict(classes=classes))
    assert [data[i]['data_samples'].image_labels for i in range(2)] == [[1], [0, 2]]
    assert [[j['bbox_label'] for j in data[i]['data_samples'].instances] for i in range(2)] == [[1], [0, 2]]
    turned = dataset(root, 'val', metainfo=dict(classes=classes[::-2]), mask_classes=classes)
    assert [i['bbox_label'] for i in turned[1]['data_samples'].instances] == [1, 0]


@pytest.mark.parametrize('file, match', [
    ('ImageSets/Segmentation/val.txt', r'val.txt does not exist.*data_root'),
    ('JPEGImages/v1.jpg', r'v1.jpg does not exist \(1 of 2'),
    ('Annotations/v1.xml', 'v1.xml does not exist'),
    ('SegmentationClass/v1.png', r'SegmentationClass.v1.png does not exist \(1 of 2'),
    ('SegmentationObject/v1.png', 'SegmentationObject.v1.png does not exist'),
])
def test_a_missing_file_is_named_at_the_start(mini_voc, file, match):
    root = mini_voc()
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=match):
        dataset(root, 'val')


def test_missing_folder_and_bad_arguments(mini_voc):
    root = mini_voc()
    with pytest.raises(FileNotFoundError, match='JPGs does not exist.*data_prefix'):
        dataset(root, data_prefix=dict(img='JPGs'))
    with pytest.raises(ValueError, match="no \\['image'\\]"):
        dataset(root, data_prefix=dict(image='JPEGImages'))
    with pytest.raises(ValueError, match='label_source'):
        dataset(root, label_source='boxes')
    with pytest.raises(ValueError, match='twice'):
        dataset(root, metainfo=dict(classes=('cat', 'cat')))


@pytest.mark.parametrize('content', [b'', b'garbage' * 40])
@pytest.mark.parametrize('file', ['JPEGImages/v0.jpg', 'SegmentationClass/v0.png',
                                  'SegmentationObject/v0.png'])
def test_a_broken_file_is_named(mini_voc, file, content):
    root = mini_voc()
    (root / file).write_bytes(content)
    with pytest.raises(Exception, match=f'{file[:-4]}.*(download|restore)'):
        dataset(root, 'val')[0]


def test_truncated_image_is_named_and_not_trained_on(mini_voc):
    """OpenCV alone decodes it, gray below the cut, without any error."""
    root = mini_voc()
    path = root / 'JPEGImages/t0.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match='t0.jpg is damaged'):
        dataset(root)[0]


def test_mask_of_another_size_is_named(mini_voc):
    root = mini_voc()
    Image.new('L', (32, 25)).save(root / 'SegmentationObject/v0.png')
    with pytest.raises(ValueError, match=r'v0.png has \(25, 32\) pixels, its image \(24, 32\)'):
        dataset(root, 'val')[0]


@pytest.mark.parametrize('mode, size', [('L', (32, 24)), ('RGBA', (32, 24)), ('RGB', (1, 1)), ('L', (1, 1))])
def test_gray_rgba_and_single_pixel(mini_voc, mode, size):
    root = mini_voc()
    color = 77 if mode == 'L' else (10, 20, 30, 40)[:len(mode)]
    Image.new(mode, size, color).save(root / 'JPEGImages/t0.png')
    (root / 'ImageSets/Segmentation/train.txt').write_text('t0\n')
    sample = dataset(root, img_suffix='.png')[0]
    assert sample['inputs'].shape == (3, 16, 16)
    # channels are BGR, as mmcv loads them
    assert sample['inputs'][:, 0, 0].tolist() == ([77] * 3 if mode == 'L' else [30, 20, 10])
    assert sample['data_samples'].ori_shape == size[::-1]


def test_annotations_of_unused_classes_are_counted(mini_voc, logged):
    dataset(mini_voc(), metainfo=dict(classes=('cat', 'dog')))
    assert "left out: {'person': 1}" in logged[0]
