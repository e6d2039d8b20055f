import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS

from mmiam.datasets.transforms import AlignSegmentProposals, LoadSegmentProposals
from mmiam.proposals import SegmentProposals


@pytest.fixture
def folder(tmp_path):
    """An image 000001 of 40 x 60 pixels and its two proposals: the image's bright box, and the rest."""
    box = np.zeros((40, 60), bool)
    box[8:20, 6:30] = True
    SegmentProposals([box.astype(int)], [np.array([[0, 1], [1, 0]], bool)], np.array([2., 1.])).save(
        tmp_path / '000001.npz')
    return tmp_path


def sample(shape=(40, 60)):
    return dict(img_path='/data/images/000001.jpg', ori_shape=shape, img_shape=shape)


def test_loads_by_stem(folder):
    results = LoadSegmentProposals(str(folder)).transform(sample())
    proposals = results['segment_proposals']
    assert len(proposals) == 2 and proposals.size == (40, 60) and proposals.areas()[0] == 12 * 24


def test_keeps_the_first(folder):
    proposals = LoadSegmentProposals(str(folder), max_proposals=1).transform(sample())['segment_proposals']
    assert len(proposals) == 1 and proposals.areas()[0] == 12 * 24
    assert len(LoadSegmentProposals(str(folder), max_proposals=9).transform(sample())['segment_proposals']) == 2


def test_missing_file(folder):
    other = dict(sample(), img_path='x/000002.jpg')
    with pytest.raises(FileNotFoundError, match='no proposals for x/000002.jpg: .*000002.npz.*generate.py'):
        LoadSegmentProposals(str(folder)).transform(other)
    proposals = LoadSegmentProposals(str(folder), on_missing='empty').transform(other)['segment_proposals']
    assert len(proposals) == 0 and proposals.size == (40, 60)
    with pytest.raises(ValueError, match='on_missing'):
        LoadSegmentProposals(str(folder), on_missing='skip')


@pytest.mark.parametrize('shape, hint', [((60, 40), 'transposed'), ((41, 60), '')])
def test_other_size_is_an_error_with_file_and_image(folder, shape, hint):
    with pytest.raises(ValueError, match=f'000001.npz: proposals of .*{hint}.*000001.jpg'):
        LoadSegmentProposals(str(folder)).transform(sample(shape))


def test_broken_file_is_an_error_even_where_missing_ones_are_not(folder):
    (folder / '000001.npz').write_bytes(b'PK')
    with pytest.raises(ValueError, match='000001.npz: truncated'):
        LoadSegmentProposals(str(folder), on_missing='empty').transform(sample())


def test_other_formats(folder):
    from PIL import Image
    (folder / '000001').mkdir()
    Image.fromarray(np.eye(40, 60).astype(np.uint8)).save(folder / '000001' / '0.png')
    proposals = LoadSegmentProposals(str(folder), file_suffix='').transform(sample())['segment_proposals']
    assert proposals.areas().tolist() == [40]


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('scale, keep_ratio', [((32, 48), False), ((90, 90), True), ((120, 80), False)])
def test_goes_where_mmdet_brings_the_image(folder, direction, scale, keep_ratio):
    image = np.full((40, 60, 3), 10, np.uint8)
    image[8:20, 6:30] = 250
    steps = [TRANSFORMS.build(dict(type='LoadSegmentProposals', proposal_root=str(folder))),
             TRANSFORMS.build(dict(type='Resize', scale=scale, keep_ratio=keep_ratio))]
    if direction:
        steps.append(TRANSFORMS.build(dict(type='RandomFlip', prob=1., direction=direction)))
    results = Compose([*steps, AlignSegmentProposals()])(dict(sample(), img=image))
    proposals = results['segment_proposals']
    bright = results['img'][..., 0] > 130
    assert proposals.size == results['img'].shape[:2] == results['img_shape'][:2]
    mask = proposals.masks([0])[0]
    assert (mask & bright).sum() / (mask | bright).sum() > .9


def test_no_flip_is_applied_where_none_was_made(folder):
    results = LoadSegmentProposals(str(folder)).transform(sample())
    before = results['segment_proposals'].masks()
    results.update(flip=False, flip_direction=None)
    np.testing.assert_array_equal(AlignSegmentProposals().transform(results)['segment_proposals'].masks(), before)


def test_crops_are_refused(folder):
    results = LoadSegmentProposals(str(folder)).transform(sample())
    results.update(scale_factor=(2., 2.), img_shape=(80, 100))
    with pytest.raises(ValueError, match='not crops or padding'):
        AlignSegmentProposals().transform(results)
