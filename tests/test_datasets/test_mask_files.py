"""Mask files, and the transforms that read them."""
import mmcv
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose
from PIL import Image

from mmiam.datasets.mask_files import load_saliency_mask, load_voc_instances, voc_instances
from mmiam.utils.rle import decode_masks, encode_masks

SEMANTIC = np.array([[9, 9, 255, 0],
                     [9, 9, 255, 12],
                     [0, 0, 255, 12]], np.uint8)
OBJECTS = np.array([[4, 4, 255, 0],
                    [4, 4, 255, 1],
                    [0, 0, 0, 1]], np.uint8)


def transform(kind, **sample):
    return TRANSFORMS.build(dict(type=kind))(sample)


# -- VOC's pairs -------------------------------------------------------------------------------------------------------
def test_instances_by_hand():
    instances, void = voc_instances(SEMANTIC, OBJECTS, {12: 0, 9: 1})
    assert [i['bbox_label'] for i in instances] == [0, 1]  # ordered by object index
    assert [i['bbox'] for i in instances] == [[3, 1, 4, 3], [0, 0, 2, 2]]
    assert [i['ignore_flag'] for i in instances] == [0, 0]
    masks = decode_masks([i['mask'] for i in instances], (3, 4))
    np.testing.assert_array_equal(masks, [OBJECTS == 1, OBJECTS == 4])
    # void where either mask says so
    np.testing.assert_array_equal(decode_masks([void], (3, 4))[0], SEMANTIC == 255)
    # a class that is not in use is background, not void
    assert voc_instances(SEMANTIC, OBJECTS, {9: 0}) == ([dict(instances[1], bbox_label=0)], void)


def test_class_by_majority():
    instances, void = voc_instances(np.array([[3, 3, 5, 0]], np.uint8), np.ones((1, 4), np.uint8), {3: 7, 5: 8})
    assert instances[0]['bbox_label'] == 7 and instances[0]['bbox'] == [0, 0, 4, 1]
    assert void is None


@pytest.mark.parametrize('objects, message', [(np.ones((2, 2), np.uint8), 'object 1 has no class'),
                                              (np.zeros((2, 3), np.uint8), r'\(2, 2\) pixels')])
def test_contradicting_masks(objects, message):
    with pytest.raises(ValueError, match=message):
        voc_instances(np.zeros((2, 2), np.uint8), objects, {1: 0})


@pytest.mark.parametrize('count', [30, 400])
def test_masks_of_16_bits(tmp_path, count):
    """Number 255 is an object there; 65535 is void, and 255 in the class mask."""
    y, x = np.mgrid[:120, :160]
    objects = np.where((y % 6 < 4) & (x % 8 < 6), y // 6 * 20 + x // 8 + 1, 0).astype(np.uint16)
    objects[objects > count] = 0
    semantic = (objects > 0).astype(np.uint16)
    objects[0, 0], semantic[1, 0] = 65535, 255
    for name, mask in (('o', objects), ('s', semantic)):
        Image.fromarray(mask).save(tmp_path / f'{name}.png')
    instances, void = load_voc_instances(str(tmp_path / 's.png'), str(tmp_path / 'o.png'), {1: 0}, num_classes=1)
    assert len(instances) == count and decode_masks([void], (120, 160)).sum() == 2
    found = decode_masks([one['mask'] for one in instances], (120, 160))
    valid = (objects < 65535) & (semantic < 255)
    np.testing.assert_array_equal((found * np.arange(1, count + 1)[:, None, None]).sum(0), np.where(valid, objects, 0))


def test_default_label_is_the_index_less_one(mini_voc):
    root = mini_voc()
    results = transform('LoadVOCInstances', semantic_mask_path=str(root / 'SegmentationClass/v0.png'),
                        instance_mask_path=str(root / 'SegmentationObject/v0.png'))
    assert [i['bbox_label'] for i in results['instances']] == [11]  # dog


# -- black and white masks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize('mode', ['L', '1', 'P', 'RGB', 'RGBA', 'LA'])
def test_kinds_of_saliency_masks(mode, tmp_path):
    """Foreground is above 128, whatever the kind of picture."""
    gray = np.array([[0, 128, 129, 255]], np.uint8)
    picture = Image.fromarray(gray)
    if mode == '1':
        picture = Image.fromarray(gray > 128)
    elif mode == 'P':
        picture = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
        picture.putpalette([value for level in gray[0] for value in [int(level)] * 3])
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / 'mask.png')
    assert load_saliency_mask(str(tmp_path / 'mask.png')).tolist() == [[False, False, True, True]]
    found = transform('LoadSaliencyMask', saliency_mask_path=str(tmp_path / 'mask.png'), ori_shape=(1, 4, 3))
    assert decode_masks([found['saliency_mask']], (1, 4)).tolist() == [[[False, False, True, True]]]


@pytest.mark.parametrize('values, message', [
    (np.eye(4, dtype=np.uint8), 'has no value above 128'), (np.full((4, 4), 40000, np.uint16), 'more than 8 bits'),
    (np.zeros((5, 4), np.uint8), r'has \(5, 4\) pixels, its image \(4, 4\)'), (np.zeros((4, 4), np.uint8), None)])
def test_saliency_masks_that_are_refused(values, message, tmp_path):
    Image.fromarray(values).save(tmp_path / 'a.png')
    if message is None:  # all black is a mask
        assert not load_saliency_mask(str(tmp_path / 'a.png'), (4, 4)).any()
        return
    with pytest.raises(ValueError, match=f'a.png {message}|a.png has {message}'):
        load_saliency_mask(str(tmp_path / 'a.png'), (4, 4))


@pytest.mark.parametrize('chosen', [[0, 1], [1], []])
def test_union_of_instances(chosen):
    masks = np.zeros((2, 3, 4), bool)
    masks[0, 0], masks[1, :2, 1] = True, True
    found = transform('InstancesToSaliencyMask', ori_shape=(3, 4),
                      instances=[dict(mask=rle) for rle in encode_masks(masks[chosen])])
    assert np.array_equal(decode_masks([found['saliency_mask']], (3, 4))[0], masks[chosen].any(0))


@pytest.mark.parametrize('kind', ['LoadVOCInstances', 'LoadSaliencyMask', 'InstancesToSaliencyMask'])
@pytest.mark.parametrize('given', ['path', 'array'])
def test_images_of_an_inferencer_pass(kind, given, mini_voc):
    """DetInferencer replaces the loader and hands in an image alone."""
    path = str(mini_voc() / 'JPEGImages/v0.jpg')
    pipeline = Compose([dict(type='mmdet.InferencerLoader'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
                        dict(type=kind), dict(type='PackWeakInputs')])
    packed = pipeline(path if given == 'path' else mmcv.imread(path))
    assert packed['inputs'].shape == (3, 16, 16) and packed['data_samples'].ori_shape == (24, 32)
    assert not {'instances', 'image_labels', 'saliency_mask'} & set(packed['data_samples'].metainfo_keys())
    assert repr(pipeline.transforms[2]) == f'{kind}()'
