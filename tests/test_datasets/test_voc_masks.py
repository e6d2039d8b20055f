import numpy as np
import pytest
from PIL import Image

from mmiam.datasets.mask_files import load_voc_instances, voc_instances
from mmiam.utils.images import read_indices
from mmiam.utils.rle import decode_masks

SEMANTIC = np.array([[9, 9, 255, 0],
                     [9, 9, 255, 12],
                     [0, 0, 255, 12]], np.uint8)
OBJECTS = np.array([[4, 4, 255, 0],
                    [4, 4, 255, 1],
                    [0, 0, 0, 1]], np.uint8)


def test_instances_by_hand():
    instances, void = voc_instances(SEMANTIC, OBJECTS, {12: 0, 9: 1})
    assert [i['bbox_label'] for i in instances] == [0, 1]  # ordered by object index
    assert [i['bbox'] for i in instances] == [[3, 1, 4, 3], [0, 0, 2, 2]]
    assert [i['ignore_flag'] for i in instances] == [0, 0]
    masks = decode_masks([i['mask'] for i in instances], (3, 4))
    np.testing.assert_array_equal(masks, [OBJECTS == 1, OBJECTS == 4])
    # void where either mask says so
    np.testing.assert_array_equal(decode_masks([void], (3, 4))[0], SEMANTIC == 255)


def test_class_that_is_not_in_use_is_background():
    instances, void = voc_instances(SEMANTIC, OBJECTS, {9: 0})
    assert [i['bbox_label'] for i in instances] == [0]
    assert decode_masks([void], (3, 4)).sum() == 3


def test_class_by_majority():
    semantic = np.array([[3, 3, 5, 0]], np.uint8)
    instances, void = voc_instances(semantic, np.array([[1, 1, 1, 1]], np.uint8), {3: 7, 5: 8})
    assert instances[0]['bbox_label'] == 7 and instances[0]['bbox'] == [0, 0, 4, 1]
    assert void is None


def test_contradicting_masks():
    with pytest.raises(ValueError, match='object 1 has no class'):
        voc_instances(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), {1: 0})
    with pytest.raises(ValueError, match=r'\(2, 2\) pixels'):
        voc_instances(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), {1: 0})


def test_read_palette_and_gray(tmp_path):
    picture = Image.fromarray(OBJECTS)
    picture.save(tmp_path / 'l.png')
    picture.putpalette([0] * 768)  # all colors alike: only the indices tell
    picture.save(tmp_path / 'p.png')
    for name in 'lp':
        np.testing.assert_array_equal(read_indices(str(tmp_path / f'{name}.png')), OBJECTS)


def test_read_errors(tmp_path):
    Image.new('RGB', (3, 3)).save(tmp_path / 'rgb.png')
    with pytest.raises(ValueError, match='rgb.png.*palette'):
        read_indices(str(tmp_path / 'rgb.png'))
    with pytest.raises(FileNotFoundError, match='gone.png'):
        read_indices(str(tmp_path / 'gone.png'))
    noise = np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / 'cut.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:300])
    with pytest.raises(ValueError, match='cut.png is damaged'):
        read_indices(str(tmp_path / 'cut.png'))


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
