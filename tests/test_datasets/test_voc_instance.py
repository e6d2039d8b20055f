"""PASCAL VOC in its own layout: for training, for evaluation, and for localization."""
import os

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from PIL import Image
from support import MINI_CLASSES

from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.utils.rle import decode_masks

LOAD, RESIZE = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16), keep_ratio=False)
TRAIN = [LOAD, RESIZE, dict(type='RandomFlip', prob=0.5), dict(type='PackWeakInputs')]
TEST = [LOAD, RESIZE, dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]


def dataset(root, split='train', **kwargs):
    kwargs.setdefault('test_mode', split == 'val')
    kwargs.setdefault('pipeline', TEST if kwargs['test_mode'] else TRAIN)
    return DATASETS.build(dict(type='VOCInstanceDataset', data_root=str(root),
                               ann_file=f'ImageSets/Segmentation/{split}.txt', **kwargs))


def localization(root, **kwargs):
    return DATASETS.build(dict(type='VOCSingleObjectDataset', data_root=str(root), pipeline=[LOAD, TRAIN[-1]],
                               ann_file='ImageSets/Segmentation/val.txt', **kwargs))


def ids(data):
    return [data.entry(index)['img_id'] for index in range(len(data))]


def names(labels):
    return [VOC_CLASSES[label] for label in labels]


# -- training ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize('source', ['annotations', 'imagesets'])
def test_training_entries(mini_voc, source):
    data = dataset(mini_voc(), label_source=source)
    entries = [data.get_data_info(i) for i in range(len(data))]
    assert ids(data) == ['t0', 't1', 't2']  # t3 has no label
    # the person of t1 is difficult only: positive
    assert [names(e['image_labels']) for e in entries] == [['cat'], ['dog', 'person'], ['cat']]
    assert all((e['height'], e['width']) == (24, 32) for e in entries)
    assert not [key for e in entries for key in e if 'mask' in key or 'box' in key or 'instances' in key]
    assert data.get_cat_ids(1) == entries[1]['image_labels']


@pytest.mark.parametrize('config, train, test, reason', [
    (dict(), ['t0', 't1', 't2'], ['t0', 't1', 't2', 't3'], '1 of 4 images left out: no image-level label'),
    (dict(filter_empty_gt=False), ['t0', 't1', 't2', 't3'], ['t0', 't1', 't2', 't3'], None),
    (dict(min_size=24), ['t0', 't1', 't2'], ['t0', 't1', 't2', 't3'], 'no image-level label'),
    (dict(min_size=25), [], ['t0', 't1', 't2', 't3'], 'too small (min_size)'),
    # at test t3, without any label, stays
    (dict(exclude_classes=('dog', )), ['t0', 't2'], ['t0', 't2', 't3'], 'has an excluded class (exclude_classes)'),
    (dict(exclude_classes=('person', 'cat')), [], ['t3'], 'has an excluded class (exclude_classes)'),
    (dict(keep_classes='cat'), ['t0', 't2'], ['t0', 't2'], 'none of the classes to keep'),
    (dict(keep_classes=('person', 'boat')), ['t1'], ['t1'], 'none of the classes to keep'),
    (dict(keep_classes=('cat', 'dog'), exclude_classes=('person', )), ['t0', 't2'], ['t0', 't2'], 'excluded')])
def test_images_that_are_left_out(config, train, test, reason, mini_voc, logged):
    """Held-out classes: of training and of test, whatever else the image shows."""
    root = mini_voc()
    for kwargs, expected in ((dict(), train), (dict(test_mode=True), test)):
        if expected:
            assert ids(dataset(root, filter_cfg=config, **kwargs)) == expected
        else:
            with pytest.raises(ValueError, match='train.txt: none of the 4 images .* passes filter_cfg.*label_source'):
                dataset(root, filter_cfg=config, **kwargs)
    assert any(reason in line for line in logged) if reason else not logged


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


def test_training_needs_neither_mask_folders_nor_sizes(mini_voc):
    root = mini_voc()
    for folder in ('SegmentationClass', 'SegmentationObject'):
        os.rename(root / folder, root / f'{folder}_gone')
    (root / 'Annotations/t0.xml').write_text('<annotation><object><name>cat</name></object></annotation>')
    data = dataset(root)
    assert len([sample for sample in data]) == 3
    assert (data.get_data_info(0)['height'], data.get_data_info(0)['width']) == (24, 32)


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


# -- evaluation --------------------------------------------------------------------------------------------------------
def test_test_samples_have_ground_truth(mini_voc):
    root = mini_voc()
    sample = dataset(root, 'val')[1]['data_samples']
    assert names(i['bbox_label'] for i in sample.instances) == ['cat', 'person'] == names(sample.image_labels)
    assert sample.instances[0]['bbox'] == [2, 3, 11, 11]  # without the void border, original pixels
    truth = np.array(Image.open(root / 'SegmentationObject/v1.png'))
    masks = decode_masks([i['mask'] for i in sample.instances], (24, 32))
    np.testing.assert_array_equal(masks, [truth == 1, truth == 2])
    np.testing.assert_array_equal(decode_masks([sample.void_mask], (24, 32))[0], truth == 255)
    assert sample.ori_shape == (24, 32) and sample.img_shape == (16, 16)
    sample = dataset(root, test_mode=True)[3]['data_samples']  # without object
    assert sample.instances == [] and sample.void_mask is None and sample.image_labels == []


def test_class_subset_keeps_the_masks_meaning(mini_voc, logged):
    data = dataset(mini_voc(), 'val', metainfo=dict(classes=['person', 'cat']), mask_classes='voc')
    assert data.metainfo['classes'] == ('person', 'cat')
    assert data.metainfo['palette'] == [(192, 128, 128), (64, 0, 0)]  # VOC's colors of these two
    assert [data[i]['data_samples'].image_labels for i in range(2)] == [[], [0, 1]]
    assert [i['bbox_label'] for i in data[1]['data_samples'].instances] == [1, 0]
    assert data[0]['data_samples'].instances == []
    assert "objects that are not among the classes were left out: {'dog': 1}" in logged[0]


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


# -- localization ------------------------------------------------------------------------------------------------------
def test_images_of_one_object_with_its_box(mini_voc):
    """v0 has a dog at (4, 4, 20, 20); v1 has two objects, also where one of them is of another class."""
    root = mini_voc()
    data = localization(root, metainfo=dict(classes=('cat', 'dog', 'person')))
    assert len(data) == 1
    sample = data[0]['data_samples']
    assert sample.img_id == 'v0' and sample.image_labels == [1]
    assert sample.instances == [dict(bbox=[4., 4., 20., 20.], bbox_label=1, ignore_flag=0)]
    with pytest.raises(ValueError, match='val.txt: none of the 2 images has a single object'):
        localization(root, metainfo=dict(classes=('cat', )))
    with pytest.raises(ValueError, match='for evaluation only'):
        localization(root, test_mode=False)


@pytest.mark.parametrize('wrong', ['', '<xmin>25</xmin>', '<xmin>a</xmin>'])
def test_a_bad_box_names_its_file(wrong, mini_voc):
    root = mini_voc()
    path = root / 'Annotations/v0.xml'
    assert '<xmin>5</xmin>' in path.read_text()
    path.write_text(path.read_text().replace('<xmin>5</xmin>', wrong))
    with pytest.raises(ValueError, match='v0.xml: .*restore the file'):
        localization(root)


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize('kwargs, message', [
    (dict(filter_cfg=dict(exclude_classes=('dgo', ))), r"filter_cfg\['exclude_classes'\] names \['dgo'\]"),
    (dict(filter_cfg=dict(keep_classes='tiger')), r"filter_cfg\['keep_classes'\] names \['tiger'\]"),
    (dict(filter_cfg=dict(exclude_class=('dog', ))), r"filter_cfg has no \['exclude_class'\]"),
    (dict(data_prefix=dict(img='JPGs')), 'JPGs does not exist.*data_prefix'),
    (dict(data_prefix=dict(image='JPEGImages')), r"no \['image'\]"), (dict(label_source='boxes'), 'label_source'),
    (dict(metainfo=dict(classes=('cat', 'cat'))), 'twice'),
    (dict(metainfo=dict(classes=('boat', ))), 'none of the 4 images')])
def test_bad_arguments(kwargs, message, mini_voc):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        dataset(mini_voc(), **kwargs)


@pytest.mark.parametrize('file, message', [
    ('ImageSets/Segmentation/val.txt', r'val.txt does not exist.*data_root'),
    ('JPEGImages/v1.jpg', r'v1.jpg does not exist \(1 of 2'), ('Annotations/v1.xml', 'v1.xml does not exist'),
    ('SegmentationClass/v1.png', r'SegmentationClass.v1.png does not exist \(1 of 2'),
    ('SegmentationObject/v1.png', 'SegmentationObject.v1.png does not exist')])
def test_a_missing_file_is_named_at_the_start(mini_voc, file, message):
    root = mini_voc()
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        dataset(root, 'val')


@pytest.mark.parametrize('content', [b'', b'garbage' * 40, 'cut', 'small'])
@pytest.mark.parametrize('file', ['JPEGImages/v0.jpg', 'SegmentationClass/v0.png', 'SegmentationObject/v0.png'])
def test_a_broken_file_is_named(mini_voc, file, content):
    """OpenCV alone decodes a JPEG that is cut, gray below the cut, without any error."""
    path = mini_voc() / file
    if content == 'small':
        Image.new('L', (32, 25)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:-100] if content == 'cut' else content)
    with pytest.raises(ValueError, match=r'v0.png has \(.* pixels, its image' if content == 'small' else
                       f'{file[:-4]}.*(download|restore)'):
        dataset(path.parents[1], 'val')[0]
