"""Which instances become pseudo labels, and what the file says about them."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import consistent, image_part, merge_parts, provenance, shard_of_launcher
from mmiam.utils.rle import decode_masks

SCORES = torch.tensor([0.2, 0.9, 0.6, 0.4, 0.3])
LABELS = torch.tensor([1, 0, 2, 2, 1])


@pytest.mark.parametrize('labels, min_score, keep_best, expected', [
    ([0, 1, 2], 0., False, [1, 2, 3, 4, 0]),
    ([1, 2], 0., False, [2, 3, 4, 0]),
    ([1, 2], 0.35, False, [2, 3]),
    ([1, 2], 0.35, True, [2, 3, 4]),  # of label 1 the better one
    ([1], 0.3, False, [4]),
    ([3], 0., True, []),
    ([], 0., True, [])])
def test_consistent(labels, min_score, keep_best, expected):
    instances = InstanceData(scores=SCORES, labels=LABELS)
    assert consistent(instances, labels, min_score, keep_best).tolist() == expected


def sample():
    """Two instances on 4 x 6 pixels, label 1 with 6 and label 0 with 2 pixels; the image is tagged with both and 2."""
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 3, :2] = True
    return DetDataSample(
        metainfo=dict(ori_shape=(4, 6), image_labels=[0, 1, 2]),
        pred_instances=InstanceData(masks=masks, scores=torch.tensor([0.25, 0.75]), labels=torch.tensor([1, 0]),
                                    bboxes=torch.tensor([[2., 1., 5., 3.], [0., 3., 2., 4.]])))


def test_entries_of_an_image():
    part = image_part('a/b.jpg', sample(), ('x', 'y', 'z'), 0., False)
    assert part['image'] == dict(id=1, file_name='a/b.jpg', height=4, width=6, category_ids=[1, 2, 3])
    first, second = part['annotations']
    assert (first['category_id'], first['score'], first['area'], first['bbox']) == (1, 0.75, 2, [0, 3, 2, 1])
    assert (second['category_id'], second['score'], second['area'], second['bbox']) == (2, 0.25, 6, [2, 1, 3, 2])
    assert decode_masks([second['segmentation']], (4, 6))[0].tolist() == sample().pred_instances.masks[0].tolist()


def test_merge(tmp_path):
    parts = PartFiles(str(tmp_path / 'parts'), dict(version='x'), 2)
    parts.write(1, image_part('b.jpg', sample(), 'xyz', 0., False))
    with pytest.raises(ValueError, match='1 of 2 images are not labelled yet'):
        merge_parts(parts, 'xyz', str(tmp_path / 'out.json'))
    assert not (tmp_path / 'out.json').exists()
    parts.write(0, image_part('a.jpg', sample(), 'xyz', 0.5, False))
    content = merge_parts(parts, 'xyz', str(tmp_path / 'out.json'))
    assert [(image['id'], image['file_name']) for image in content['images']] == [(1, 'a.jpg'), (2, 'b.jpg')]
    assert [(a['id'], a['image_id']) for a in content['annotations']] == [(1, 1), (2, 2), (3, 2)]
    assert content['categories'] == [dict(id=1, name='x'), dict(id=2, name='y'), dict(id=3, name='z')]
    assert content['info'] == dict(version='x')


def test_provenance_follows_from_its_inputs(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'abc')
    info = provenance('c.py', Config(dict(x=1)), str(tmp_path / 'a.pth'), ['1', '2'], min_score=0.1)
    assert info['checkpoint_sha256'].startswith('ba7816bf8f01cfea') and info['checkpoint'] == 'a.pth'  # FIPS 180
    assert info['num_images'] == 2 and info['min_score'] == 0.1
    other = provenance('c.py', Config(dict(x=2)), str(tmp_path / 'a.pth'), ['1', '3'], min_score=0.1)
    assert {key for key in info if info[key] != other[key]} == {'config_sha256', 'images_sha256'}


def test_shard_of_a_launcher():
    assert shard_of_launcher('none', dict(RANK='1', WORLD_SIZE='4')) is None
    assert shard_of_launcher('pytorch', dict(RANK='1', WORLD_SIZE='4')) == '1/4'
    assert shard_of_launcher('slurm', dict(SLURM_PROCID='0', SLURM_NTASKS='2')) == '0/2'
    with pytest.raises(ValueError, match='RANK and WORLD_SIZE are not set; start with torchrun'):
        shard_of_launcher('pytorch', dict(RANK='1'))
