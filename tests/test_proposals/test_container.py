import numpy as np
import pytest

from mmiam.proposals import SegmentProposals


def random_proposals(seed=0, size=(13, 17), labels=(9, 300), counts=(6, 5)):
    """Two levels, the second with more than 256 labels (some do not occur), scores descending."""
    rng = np.random.default_rng(seed)
    maps = [rng.integers(0, k, size) for k in labels]
    members = [rng.random((n, k)) < 0.4 for n, k in zip(counts, labels)]
    return SegmentProposals(maps, members, np.linspace(1, 0, sum(counts)), 'test'), maps, members


def dense(maps, members):
    return np.concatenate([table[:, label_map] for label_map, table in zip(maps, members)])


def test_masks_by_hand():
    proposals = SegmentProposals([np.array([[0, 1], [2, 2]])], [np.array([[1, 1, 0], [0, 0, 1]], bool)])
    assert len(proposals) == 2 and proposals.size == (2, 2) and proposals.scores is None
    assert proposals.masks([1]).astype(int).tolist() == [[[0, 0], [1, 1]]]
    assert proposals.areas().tolist() == [2, 2]
    assert proposals.boxes().tolist() == [[0, 0, 2, 1], [0, 1, 2, 2]]


def test_masks_areas_boxes_equal_dense():
    proposals, maps, members = random_proposals()
    masks = dense(maps, members)
    assert proposals.masks().dtype == bool
    np.testing.assert_array_equal(proposals.masks(), masks)
    np.testing.assert_array_equal(proposals.masks([7, 0, 7]), masks[[7, 0, 7]])
    np.testing.assert_array_equal(proposals.areas(), masks.sum((1, 2)))
    for box, mask in zip(proposals.boxes(), masks):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_pairwise_iou_equals_dense_within_and_between_levels():
    proposals, maps, members = random_proposals()
    masks = dense(maps, members).reshape(len(proposals), -1).astype(float)
    common = masks @ masks.T
    union = masks.sum(1)[:, None] + masks.sum(1)[None] - common
    np.testing.assert_allclose(proposals.pairwise_iou(), common / union, atol=1e-12)
    np.testing.assert_allclose(proposals.pairwise_iou([8, 1], [2, 9, 10]), (common / union)[[8, 1]][:, [2, 9, 10]])
    np.testing.assert_allclose(proposals.pairwise_iou(dtype=np.float32), common / union, rtol=1e-6)


@pytest.mark.parametrize('direction, axes', [('horizontal', 2), ('vertical', 1), ('diagonal', (1, 2))])
def test_flip_equals_flipped_masks(direction, axes):
    proposals, maps, members = random_proposals()
    np.testing.assert_array_equal(proposals.flip(direction).masks(), np.flip(dense(maps, members), axes))


@pytest.mark.parametrize('size', [(26, 34), (5, 40), (1, 1), (13, 17)])
def test_resize_takes_the_nearest_pixel_center(size):
    proposals, maps, members = random_proposals()
    resized = proposals.resize(size)
    masks, expected = dense(maps, members), np.zeros((len(proposals), *size), bool)
    for y in range(size[0]):
        for x in range(size[1]):
            source = int((y + .5) * 13 / size[0]), int((x + .5) * 17 / size[1])
            expected[:, y, x] = masks[:, source[0], source[1]]
    np.testing.assert_array_equal(resized.masks(), expected)


def test_select():
    proposals, maps, members = random_proposals()
    masks = dense(maps, members)
    chosen = proposals.select([9, 2, 2])
    np.testing.assert_array_equal(chosen.masks(), masks[[9, 2, 2]])
    np.testing.assert_array_equal(chosen.scores, proposals.scores[[9, 2, 2]])
    assert sum(len(m) for m in chosen.members) == 2


def test_geometry_keeps_what_goes_with_the_proposals():
    proposals, _, _ = random_proposals()
    proposals.seconds = 1.5
    for other in (proposals.flip(), proposals.resize((4, 4)), proposals.select(range(11))):
        assert (other.origin, other.seconds, len(other)) == ('test', 1.5, 11)
        np.testing.assert_array_equal(other.scores, proposals.scores)


def test_resized_away_and_empty():
    proposals = SegmentProposals([np.array([[0, 1, 0]])], [np.array([[False, True]])])
    gone = proposals.resize((1, 2))
    assert gone.areas().tolist() == [0] and gone.boxes().tolist() == [[0, 0, 0, 0]]
    assert gone.pairwise_iou().tolist() == [[0]]
    empty = SegmentProposals.empty((4, 5))
    assert len(empty) == 0 and empty.masks().shape == (0, 4, 5) and empty.boxes().shape == (0, 4)
    assert len(empty.resize((2, 2)).flip().select([])) == 0
    assert empty.pairwise_iou().shape == (0, 0)


@pytest.mark.parametrize('maps, members, kwargs, message', [
    ([], [], {}, 'at least one'),
    ([np.zeros((2, 2), int)], [], {}, 'one membership table'),
    ([np.zeros((2, 2), int), np.zeros((2, 3), int)], [np.ones((1, 1), bool)] * 2, {}, 'share one shape'),
    ([np.full((2, 2), 3)], [np.ones((1, 3), bool)], {}, 'outside 0..2'),
    ([np.full((2, 2), -1)], [np.ones((1, 3), bool)], {}, 'outside'),
    ([np.zeros((2, 2), int)], [np.zeros((1, 5), np.uint8)], {}, 'bytes a row'),
    ([np.zeros((2, 2), int)], [np.ones((1, 1), bool)], dict(scores=np.ones(3)), 'scores'),
    ([np.zeros((2, 2), int)], [np.ones((1, 1), bool)], dict(level=[0], row=[4]), 'points outside'),
])
def test_contradictions_are_refused(maps, members, kwargs, message):
    with pytest.raises(ValueError, match=message):
        SegmentProposals(maps, members, **kwargs)


@pytest.mark.parametrize('score', [np.nan, np.inf, 1e308])
def test_scores_that_are_no_numbers_are_refused(score):
    with pytest.raises(ValueError, match='scores must be finite'):
        SegmentProposals([np.zeros((2, 2), int)], [np.ones((1, 1), bool)], [score])


def test_the_fingerprint_covers_content_order_and_geometry():
    proposals, _, _ = random_proposals()
    again, _, _ = random_proposals()
    assert proposals.fingerprint == again.fingerprint
    assert proposals.resize((5, 6)).fingerprint == again.resize((5, 6)).fingerprint
    one = list(range(len(proposals)))
    again.scores = again.scores + 1
    changed = [proposals, again, proposals.flip(), proposals.flip('vertical'), proposals.resize((5, 6)),
               proposals.resize((5, 6)).flip(), proposals.select(one[::-1]), proposals.select(one[:5])]
    again._fingerprint = None
    assert len({other.fingerprint for other in changed}) == len(changed)


def test_arrays_are_hashed_once(monkeypatch):
    proposals, _, _ = random_proposals()
    first = proposals.fingerprint
    monkeypatch.setattr('numpy.ascontiguousarray', None)
    assert proposals.fingerprint == first
