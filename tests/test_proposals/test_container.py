"""The container: against expanded masks, through files, and from any masks."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmiam.proposals import SegmentProposals
from mmiam.proposals.generators import SelectiveMerging
from mmiam.proposals.io import load_proposals, proposals_from_masks


def random_proposals(seed=0, size=(13, 17), labels=(9, 300), counts=(6, 5)):
    """Two levels, the second with more than 256 labels (some do not occur), scores descending; and their masks."""
    rng = np.random.default_rng(seed)
    maps = [rng.integers(0, k, size) for k in labels]
    members = [rng.random((n, k)) < 0.4 for n, k in zip(counts, labels)]
    masks = np.concatenate([table[:, label_map] for label_map, table in zip(maps, members)])
    return SegmentProposals(maps, members, np.linspace(1, 0, sum(counts)), 'test', seconds=.25), masks


def test_masks_by_hand():
    proposals = SegmentProposals([np.array([[0, 1], [2, 2]])], [np.array([[1, 1, 0], [0, 0, 1]], bool)])
    assert len(proposals) == 2 and proposals.size == (2, 2) and proposals.scores is None
    assert proposals.masks([1]).astype(int).tolist() == [[[0, 0], [1, 1]]]
    assert proposals.areas().tolist() == [2, 2]
    assert proposals.boxes().tolist() == [[0, 0, 2, 1], [0, 1, 2, 2]]


def test_masks_areas_boxes_and_iou_equal_dense():
    proposals, masks = random_proposals()
    assert proposals.masks().dtype == bool
    np.testing.assert_array_equal(proposals.masks(), masks)
    np.testing.assert_array_equal(proposals.masks([7, 0, 7]), masks[[7, 0, 7]])
    np.testing.assert_array_equal(proposals.masks(proposals.scores > .5), masks[proposals.scores > .5])
    np.testing.assert_array_equal(proposals.areas(), masks.sum((1, 2)))
    for box, mask in zip(proposals.boxes(), masks):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    flat = masks.reshape(len(masks), -1).astype(float)
    common = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1)[None] - common
    np.testing.assert_allclose(proposals.pairwise_iou(), common / union, atol=1e-12)
    np.testing.assert_allclose(proposals.pairwise_iou([8, 1], [2, 9, 10]), (common / union)[[8, 1]][:, [2, 9, 10]])
    np.testing.assert_allclose(proposals.pairwise_iou(dtype=np.float32), common / union, rtol=1e-6)


@pytest.mark.parametrize('direction, axes', [('horizontal', 2), ('vertical', 1), ('diagonal', (1, 2))])
def test_flip_equals_flipped_masks(direction, axes):
    proposals, masks = random_proposals()
    np.testing.assert_array_equal(proposals.flip(direction).masks(), np.flip(masks, axes))
    with pytest.raises(ValueError, match='flip direction must be one of'):
        proposals.flip('sideways')


@pytest.mark.parametrize('size', [(26, 34), (5, 40), (1, 1), (13, 17)])
def test_resize_takes_the_nearest_pixel_center(size):
    proposals, masks = random_proposals()
    ys, xs = (((np.arange(new) + .5) * old / new).astype(int) for new, old in zip(size, (13, 17)))
    np.testing.assert_array_equal(proposals.resize(size).masks(), masks[:, ys[:, None], xs])
    with pytest.raises(ValueError, match='size must be positive'):
        proposals.resize((0, 3))


def test_what_goes_with_the_proposals():
    proposals, masks = random_proposals()
    chosen = proposals.select([9, 2, 2])
    np.testing.assert_array_equal(chosen.masks(), masks[[9, 2, 2]])
    assert sum(len(m) for m in chosen.members) == 2
    for other, kept in ((chosen, [9, 2, 2]), (proposals.flip(), range(11)), (proposals.resize((4, 4)), range(11))):
        assert (other.origin, other.seconds, len(other)) == ('test', .25, len(kept))
        np.testing.assert_array_equal(other.scores, proposals.scores[list(kept)])


def test_resized_away_and_empty():
    proposals = SegmentProposals([np.array([[0, 1, 0]])], [np.array([[False, True]])])
    gone = proposals.resize((1, 2))
    assert gone.areas().tolist() == [0] and gone.boxes().tolist() == [[0, 0, 0, 0]]
    assert gone.pairwise_iou().tolist() == [[0]]
    empty = SegmentProposals.empty((4, 5))
    assert len(empty) == 0 and empty.masks().shape == (0, 4, 5) and empty.boxes().shape == (0, 4)
    assert len(empty.resize((2, 2)).flip().select([])) == 0
    assert empty.pairwise_iou().shape == (0, 0)


ONE = dict(label_maps=[np.zeros((2, 2), int)], members=[np.ones((1, 1), bool)])


@pytest.mark.parametrize('changes, message', [
    (dict(label_maps=[], members=[]), 'at least one'), (dict(members=[]), 'one membership table'),
    (dict(label_maps=[np.zeros((2, 2), int), np.zeros((2, 3), int)], members=[np.ones((1, 1), bool)] * 2), 'one shape'),
    (dict(label_maps=[np.zeros((0, 2), int)]), 'has no pixel'),
    (dict(label_maps=[np.full((2, 2), 3)], members=[np.ones((1, 3), bool)]), 'outside 0..2'),
    (dict(label_maps=[np.full((2, 2), -1)]), 'outside'),
    (dict(members=[np.zeros((1, 5), np.uint8)]), 'bytes a row'), (dict(scores=np.ones(3)), 'scores of shape'),
    (dict(level=[0], row=[4]), 'points outside'), (dict(level=[0, 0], row=[0]), r'must both be \(n,\)'),
    *((dict(scores=[score]), 'scores must be finite') for score in (np.nan, np.inf, 1e308))])
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SegmentProposals(**{**ONE, **changes})


def test_the_fingerprint_covers_content_order_and_geometry_and_is_made_once(monkeypatch):
    proposals, again = random_proposals()[0], random_proposals()[0]
    assert proposals.fingerprint == again.fingerprint
    assert proposals.resize((5, 6)).fingerprint == again.resize((5, 6)).fingerprint
    one = list(range(len(proposals)))
    again.scores = again.scores + 1
    changed = [proposals, again, proposals.flip(), proposals.flip('vertical'), proposals.resize((5, 6)),
               proposals.resize((5, 6)).flip(), proposals.select(one[::-1]), proposals.select(one[:5])]
    again._fingerprint = None
    assert len({other.fingerprint for other in changed}) == len(changed)
    first = proposals.fingerprint
    monkeypatch.setattr('numpy.ascontiguousarray', None)
    assert proposals.fingerprint == first


# -- files -------------------------------------------------------------------------------------------------------------
def test_round_trip(tmp_path):
    proposals, masks = random_proposals()
    path = tmp_path / 'new' / 'a.npz'
    proposals.select([10, 3, 0]).save(path)
    back = load_proposals(path)
    np.testing.assert_array_equal(back.masks(), masks[[10, 3, 0]])
    np.testing.assert_array_equal(back.scores, proposals.scores[[10, 3, 0]])
    assert (back.origin, back.size, back.seconds, back.num_labels) == ('test', (13, 17), 0.25, (9, 300))
    assert [p.name for p in path.parent.iterdir()] == ['a.npz']
    SegmentProposals.empty((3, 4)).save(path)
    back = load_proposals(path)
    assert len(back) == 0 and back.size == (3, 4) and back.seconds is None


def test_disk_size_of_1500_proposals(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (38, 50, 3)).repeat(10, 0).repeat(10, 1)[:375, :500]
    proposals = SelectiveMerging()((noise + rng.integers(0, 30, (375, 500, 3))).astype(np.uint8))
    proposals.save(tmp_path / 'a.npz')
    assert len(proposals) > 1000
    assert (tmp_path / 'a.npz').stat().st_size <= 300e3 and proposals.nbytes <= 2e6


@pytest.mark.parametrize('change, message', [
    (dict(format=99), 'format version 99'), (dict(size=[17, 13]), 'in a file of size'),
    (dict(level=None), "no key 'level'"), (dict(scores=np.zeros(2)), 'scores of shape'),
    (dict(label_map_0=np.full((13, 17), 9, np.uint8)), 'outside 0..8'),
    (dict(num_labels=[2**40, 300]), '1099511627776 labels; more than'),  # which nothing backs
    (dict(size=[0, 2]), 'the image has 0 x 2 pixels')])
def test_inconsistent_files(tmp_path, change, message):
    path = tmp_path / 'a.npz'
    random_proposals()[0].save(path)
    arrays = {**dict(np.load(path)), **change}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=f'a.npz: .*{message}'):
        load_proposals(path)


@pytest.mark.parametrize('damage', [lambda whole: whole[:10], lambda whole: whole[:-3], lambda whole: (
    whole[:len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40:])], ids=['head', 'cut', 'zeros'])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / 'a.npz'
    random_proposals()[0].save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match='a.npz: '):
        load_proposals(path)


# -- any masks ---------------------------------------------------------------------------------------------------------
@settings(max_examples=40)
@given(st.integers(0, 12), st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
def test_masks_come_back_exactly(count, height, width, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < rng.random()
    proposals = proposals_from_masks(iter(masks), (height, width), np.arange(count, 0, -1))
    np.testing.assert_array_equal(proposals.masks(), masks)
    np.testing.assert_array_equal(proposals.areas(), masks.sum((1, 2)))


def test_atoms_are_what_the_same_masks_hold_and_many_take_several_levels():
    proposals = proposals_from_masks(np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[1, 1, 1, 1]]], bool))
    assert len(proposals.label_maps) == 1 and len(np.unique(proposals.label_maps[0])) == 4
    masks = np.random.default_rng(0).random((60, 12, 12)) < .5  # every pixel soon is an atom of its own
    proposals = proposals_from_masks(masks)
    assert len(proposals.label_maps) > 1
    np.testing.assert_array_equal(proposals.masks(), masks)


@pytest.mark.parametrize('masks, message', [
    ([], 'no size'), ([np.zeros((2, 3)), np.zeros((3, 2))], 'mask 1 is .*transposed')])
def test_masks_that_are_none(masks, message):
    with pytest.raises(ValueError, match=message):
        proposals_from_masks(masks)
