import json

import numpy as np
import pytest
from PIL import Image

from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.utils.rle import decode_masks


@pytest.fixture
def convert(call_tool, capsys):
    """``convert(*arguments)`` -> what the tool printed."""
    def call(*arguments):
        call_tool('tools/dataset_converters/voc2coco_instances.py', *arguments)
        return capsys.readouterr().out
    return call


@pytest.fixture
def converted(mini_voc, convert):
    root = mini_voc()
    assert '2 images, 3 instances' in convert(root, root / 'new/val.json', '--split', 'val')
    assert [path.name for path in (root / 'new').iterdir()] == ['val.json']
    return root, root / 'new/val.json'


def test_content(converted):
    root, path = converted
    content = json.loads(path.read_text())
    assert [(i['id'], i['voc_id'], i['file_name']) for i in content['images']] == [
        (1, 'v0', 'v0.jpg'), (2, 'v1', 'v1.jpg')]
    assert [c['name'] for c in content['categories']] == list(VOC_CLASSES)
    names = {c['id']: c['name'] for c in content['categories']}
    assert [(a['image_id'], names[a['category_id']], a['iscrowd']) for a in content['annotations']] == [
        (1, 'dog', 0), (2, 'cat', 0), (2, 'person', 0)]
    first = content['annotations'][0]
    assert first['bbox'] == [5, 5, 14, 14] and first['area'] == 14 * 14
    for image in content['images']:
        objects = np.array(Image.open(root / f"SegmentationObject/{image['voc_id']}.png"))
        np.testing.assert_array_equal(decode_masks([image['void_mask']], (24, 32))[0], objects == 255)
        rles = [a['segmentation'] for a in content['annotations'] if a['image_id'] == image['id']]
        for index, mask in enumerate(decode_masks(rles, (24, 32)), 1):
            np.testing.assert_array_equal(mask, objects == index)


def test_string_ids_and_other_classes(mini_voc, convert):
    root = mini_voc()
    classes = [f'class{k}' for k in range(15)]
    convert(root, root / 'out.json', '--split', 'train', '--string-ids', '--classes', *classes)
    content = json.loads((root / 'out.json').read_text())
    assert [i['id'] for i in content['images']] == ['t0', 't1', 't2', 't3']
    assert {a['image_id'] for a in content['annotations']} == {'t0', 't1', 't2'}
    assert content['images'][3]['void_mask'] is None


def test_broken_mask_is_named_and_nothing_is_written(mini_voc, call_tool, capsys):
    root = mini_voc()
    (root / 'SegmentationObject/v1.png').write_bytes(b'?')
    assert call_tool('tools/dataset_converters/voc2coco_instances.py', root, root / 'out.json') == 2
    assert 'SegmentationObject/v1.png is not an image' in capsys.readouterr().err
    assert not (root / 'out.json').exists()
