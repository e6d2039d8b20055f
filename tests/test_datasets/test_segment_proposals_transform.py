import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from PIL import Image

from mmiam.proposals import SegmentProposals


@pytest.fixture
def folder(tmp_path):
    """An image 000001 of 40 x 60 pixels and its two proposals: the image's bright box, and the rest."""
    box = np.zeros((40, 60), bool)
    box[8:20, 6:30] = True
    SegmentProposals([box.astype(int)], [np.array([[0, 1], [1, 0]], bool)], np.array([2., 1.])).save(
        tmp_path / '000001.npz')
    return tmp_path


def load(folder, img_path='/data/images/000001.jpg', shape=(40, 60), **kwargs):
    transform = TRANSFORMS.build(dict(type='LoadSegmentProposals', proposal_root=str(folder), **kwargs))
    return transform(dict(img_path=img_path, ori_shape=shape, img_shape=shape))


def align(results):
    return TRANSFORMS.build(dict(type='AlignSegmentProposals'))(results)['segment_proposals']


def test_loads_by_stem_in_any_format(folder):
    for most, number in ((None, 2), (1, 1), (9, 2)):
        proposals = load(folder, max_proposals=most)['segment_proposals']
        assert len(proposals) == number and proposals.size == (40, 60) and proposals.areas()[0] == 12 * 24
    (folder / '000001').mkdir()
    Image.fromarray(np.eye(40, 60).astype(np.uint8)).save(folder / '000001' / '0.png')
    assert load(folder, file_suffix='')['segment_proposals'].areas().tolist() == [40]


def test_missing_file(folder):
    with pytest.raises(FileNotFoundError, match='no proposals for x/000002.jpg: .*000002.npz.*generate.py'):
        load(folder, 'x/000002.jpg')
    proposals = load(folder, 'x/000002.jpg', on_missing='empty')['segment_proposals']
    assert len(proposals) == 0 and proposals.size == (40, 60)
    with pytest.raises(ValueError, match='on_missing'):
        load(folder, on_missing='skip')


@pytest.mark.parametrize('shape, content, message', [
    ((60, 40), None, 'proposals of .*transposed.*000001.jpg'), ((41, 60), None, 'proposals of .*000001.jpg'),
    ((40, 60), b'PK', 'truncated')])
def test_a_bad_file_is_an_error_even_where_missing_ones_are_not(shape, content, message, folder):
    if content:
        (folder / '000001.npz').write_bytes(content)
    with pytest.raises(ValueError, match=f'000001.npz: {message}'):
        load(folder, shape=shape, on_missing='empty')


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('scale, keep_ratio', [((32, 48), False), ((90, 90), True), ((120, 80), False)])
def test_goes_where_mmdet_brings_the_image(folder, direction, scale, keep_ratio):
    image = np.full((40, 60, 3), 10, np.uint8)
    image[8:20, 6:30] = 250
    steps = [TRANSFORMS.build(dict(type='Resize', scale=scale, keep_ratio=keep_ratio))]
    if direction:
        steps.append(TRANSFORMS.build(dict(type='RandomFlip', prob=1., direction=direction)))
    results = Compose(steps)(dict(load(folder), img=image))
    proposals = align(results)
    bright = results['img'][..., 0] > 130
    assert proposals.size == results['img'].shape[:2] == results['img_shape'][:2]
    mask = proposals.masks([0])[0]
    assert (mask & bright).sum() / (mask | bright).sum() > .9


def test_no_flip_where_none_was_made_and_no_crop(folder):
    results = load(folder)
    before = results['segment_proposals'].masks()
    results.update(flip=False, flip_direction=None)
    np.testing.assert_array_equal(align(results).masks(), before)
    results.update(scale_factor=(2., 2.), img_shape=(80, 100))
    with pytest.raises(ValueError, match='not crops or padding'):
        align(results)
