"""Which instances become pseudo labels, and what the file says about them."""
import json
import os
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image

from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import LabeledImages, consistent, image_part, merge_parts, provenance
from mmiam.utils.rle import decode_masks


@pytest.mark.parametrize('labels, min_score, keep_best, expected', [
    ([0, 1, 2], 0., False, [1, 2, 3, 4, 0]),
    ([1, 2], 0.35, False, [2, 3]),
    ([1, 2], 0.35, True, [2, 3, 4]),  # of label 1 the better one
    ([1], 0.3, False, [4]),
    ([3], 0., True, []),
    ([], 0., True, [])])
def test_consistent(labels, min_score, keep_best, expected):
    instances = InstanceData(scores=torch.tensor([0.2, 0.9, 0.6, 0.4, 0.3]), labels=torch.tensor([1, 0, 2, 2, 1]))
    assert consistent(instances, labels, min_score, keep_best).tolist() == expected


#: two instances on 4 x 6 pixels, label 1 with 6 and label 0 with 2 pixels
MASKS = torch.zeros(2, 4, 6, dtype=torch.bool)
MASKS[0, 1:3, 2:5] = MASKS[1, 3, :2] = True
FOUND = InstanceData(masks=MASKS, scores=torch.tensor([0.25, 0.75]), labels=torch.tensor([1, 0]),
                     bboxes=torch.tensor([[2., 1., 5., 3.], [0., 3., 2., 4.]]))


@pytest.fixture
def two(tmp_path):
    """Two images that are tagged with three classes, their parts, and ``part(index, min_score=0.)``, from ``FOUND``."""
    images = SimpleNamespace(classes=('x', 'y', 'z'), category_ids=[17, 18, 'z'], names=['a.jpg', 'b.jpg'],
                             ids=[9000, 9007], labels=[[0, 1, 2]] * 2)

    def part(index, min_score=0.):
        sample = DetDataSample(metainfo=dict(ori_shape=(4, 6)), pred_instances=FOUND)
        return image_part(images, index, sample, min_score, False)

    return images, PartFiles(str(tmp_path / 'parts'), dict(version='x'), images.names), part


def test_entries_of_an_image(two):
    part = two[2](0)
    assert part['image'] == dict(id=1, file_name='a.jpg', height=4, width=6, category_ids=[17, 18, 'z'])
    first, second = part['annotations']
    assert (first['category_id'], first['score'], first['area'], first['bbox']) == (17, 0.75, 2, [0, 3, 2, 1])
    assert (second['category_id'], second['score'], second['area'], second['bbox']) == (18, 0.25, 6, [2, 1, 3, 2])
    assert decode_masks([second['segmentation']], (4, 6))[0].tolist() == MASKS[0].tolist()


def test_merge(two, tmp_path):
    images, parts, part = two
    parts.write(1, part(1))
    with pytest.raises(ValueError, match='1 of 2 images are not labeled yet'):
        merge_parts(parts, images, str(tmp_path / 'out.json'))
    assert not (tmp_path / 'out.json').exists()
    parts.write(0, part(0, min_score=0.5))
    content = merge_parts(parts, images, str(tmp_path / 'out.json'))
    assert json.loads((tmp_path / 'out.json').read_text()) == content
    assert [(image['id'], image['file_name']) for image in content['images']] == [(9000, 'a.jpg'), (9007, 'b.jpg')]
    assert [(a['id'], a['image_id']) for a in content['annotations']] == [(1, 9000), (2, 9007), (3, 9007)]
    assert content['categories'] == [dict(id=17, name='x'), dict(id=18, name='y'), dict(id='z', name='z')]
    assert content['info']['version'] == 'x' and content['info']['num_images'] == 2 and 'failed' not in content['info']


def test_merge_without_what_failed(two, tmp_path):
    images, parts, part = two
    parts.write_failure(0, 'is broken')
    parts.write(1, part(1))
    content = merge_parts(parts, images, str(tmp_path / 'out.json'))
    assert [image['id'] for image in content['images']] == [9007] and content['info']['num_images'] == 1
    assert content['info']['failed'] == [dict(file_name='a.jpg', error='is broken')]
    os.unlink(parts.path(1))
    parts.write_failure(1, 'is broken too')
    with pytest.raises(ValueError, match='every image failed, nothing is written; a.jpg: is broken'):
        merge_parts(parts, images, str(tmp_path / 'out.json'))


@pytest.mark.parametrize('change, message', [
    (lambda part: part['image'].update(file_name='b.jpg'), 'another image'),
    (lambda part: part['image'].update(height=10**9), 'more than'),
    (lambda part: part['annotations'][0].update(category_id=99), 'not among the tags'),
    (lambda part: part['annotations'][0]['segmentation'].update(size=[5, 5]), 'no RLE of'),
    (lambda part: part['annotations'][0]['segmentation'].update(counts='0'), 'is damaged'),
    (lambda part: part['annotations'][0].update(score=float('nan')), 'finite numbers'),
    (lambda part: part.pop('annotations'), 'annotations')])
def test_records_of_a_part_are_checked(change, message, two, tmp_path):
    images, parts, part = two
    for index in (0, 1):
        parts.write(index, part(index))
    changed = part(0)
    change(changed)
    parts.write(0, changed)
    with pytest.raises(ValueError, match=message):
        merge_parts(parts, images, str(tmp_path / 'out.json'))


def test_provenance_follows_from_its_inputs(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'abc')
    info, other = (provenance('c.py', Config(dict(x=x)), str(tmp_path / 'a.pth'), min_score=0.1) for x in (1, 2))
    assert info['checkpoint_sha256'].startswith('ba7816bf8f01cfea') and info['checkpoint'] == 'a.pth'  # FIPS 180
    assert info['min_score'] == 0.1 and {key for key in info if info[key] != other[key]} == {'config_sha256'}


@pytest.fixture
def photos(tmp_path):
    """``photos(name, **other)`` -> a WeakLabelDataset's config of two images, cat/1.jpg and dog/1.jpg."""
    def make(name, **other):
        for tag, color in (('cat', 'red'), ('dog', 'blue')):  # equal files would count as one image
            (tmp_path / name / tag).mkdir(parents=True)
            Image.new('RGB', (8, 6), color).save(tmp_path / name / tag / '1.jpg')
        return dict(type='WeakLabelDataset', img_root=str(tmp_path / name), pipeline=[], **other)
    return make


def labeled(dataset):
    return LabeledImages(Config(dict(train_dataloader=dict(dataset=dataset),
                                     test_dataloader=dict(dataset=dict(pipeline=[])))))


def test_data_sets_in_others_are_taken_out(photos):
    one, two = photos('one'), photos('two')
    balanced = dict(type='ClassBalancedDataset', oversample_thr=1., dataset=one)
    found = labeled(dict(type='RepeatDataset', times=3, dataset=balanced))
    assert found.names == ['cat/1.jpg', 'dog/1.jpg'] and found.labels == [[0], [1]] and found.ids == [1, 2]
    found = labeled(dict(type='ConcatDataset', datasets=[balanced, two, one]))
    assert found.names == ['one/cat/1.jpg', 'one/dog/1.jpg', 'two/cat/1.jpg', 'two/dog/1.jpg']
    assert [os.path.isfile(path) for path in found.paths] == [True] * 4 and len(set(found.keys())) == 4
    two['metainfo'] = dict(classes=('dog', 'cat'))
    with pytest.raises(ValueError, match='have other classes'):
        labeled(dict(type='ConcatDataset', datasets=[one, two]))


def test_what_cannot_be_labeled():
    with pytest.raises(KeyError, match='no val_dataloader.dataset to label'):
        LabeledImages(Config(dict()), 'val')
    with pytest.raises(ValueError, match='is a CocoDataset, which gives no image-level labels'):
        labeled(dict(type='CocoDataset', lazy_init=True))


def test_another_image_under_the_name_has_another_key(photos):
    """Also one of the same size in bytes, as after its EXIF orientation was changed."""
    found = labeled(photos('one'))
    before, path = found.keys(), found.paths[0]
    os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))
    assert [a == b for a, b in zip(before, found.keys())] == [False, True]


def test_ids_of_coco_json_are_kept(photos, tmp_path):
    (tmp_path / 'tags.json').write_text(json.dumps(dict(
        images=[dict(id='b', file_name='dog/1.jpg'), dict(id=9, file_name='cat/1.jpg')],
        categories=[dict(id=18, name='dog'), dict(id=3, name='cat')],
        annotations=[dict(image_id=9, category_id=3), dict(image_id='b', category_id=18)])))
    one = photos('one', ann_file=str(tmp_path / 'tags.json'))
    found = labeled(one)
    assert dict(zip(found.names, found.ids)) == {'dog/1.jpg': 'b', 'cat/1.jpg': 9}
    assert dict(zip(found.classes, found.category_ids)) == dict(dog=18, cat=3)
    assert labeled(dict(one, metainfo=dict(classes=('cat', 'dog')))).category_ids == [3, 18]
