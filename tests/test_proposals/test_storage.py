import numpy as np
import pytest
from test_container import random_proposals

from mmiam.proposals import SegmentProposals
from mmiam.proposals.io import load_proposals


def test_round_trip(tmp_path):
    proposals, _, _ = random_proposals()
    proposals.seconds = 0.25
    path = tmp_path / 'new' / 'a.npz'
    proposals.select([10, 3, 0]).save(path)
    back = load_proposals(path)
    np.testing.assert_array_equal(back.masks(), proposals.masks([10, 3, 0]))
    np.testing.assert_array_equal(back.scores, proposals.scores[[10, 3, 0]])
    assert (back.origin, back.size, back.seconds, back.num_labels) == ('test', (13, 17), 0.25, (9, 300))
    assert [p.name for p in path.parent.iterdir()] == ['a.npz']


def test_missing_and_damaged_files_are_named(tmp_path):
    path, (proposals, _, _) = tmp_path / 'a.npz', random_proposals()
    with pytest.raises(FileNotFoundError, match='a.npz'):
        load_proposals(path)
    proposals.save(path)
    whole = path.read_bytes()
    for content in (b'', whole[:10], whole[:-3], whole[:len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='a.npz: '):
            load_proposals(path)


def test_round_trip_of_nothing(tmp_path):
    SegmentProposals.empty((3, 4)).save(tmp_path / 'a.npz')
    back = load_proposals(tmp_path / 'a.npz')
    assert len(back) == 0 and back.size == (3, 4) and back.seconds is None


def test_disk_size_of_1500_proposals(tmp_path):
    from mmiam.proposals.generators import SelectiveMerging
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (38, 50, 3)).repeat(10, 0).repeat(10, 1)[:375, :500]
    image = (noise + rng.integers(0, 30, (375, 500, 3))).astype(np.uint8)
    proposals = SelectiveMerging()(image)
    proposals.save(tmp_path / 'a.npz')
    assert len(proposals) > 1000
    assert (tmp_path / 'a.npz').stat().st_size <= 300e3 and proposals.nbytes <= 2e6


@pytest.mark.parametrize('change, message', [
    (dict(format=np.array(99)), 'format version 99'),
    (dict(size=np.array([17, 13])), 'in a file of size'),
    (dict(level=None), "no key 'level'"),
    (dict(scores=np.zeros(2)), 'scores of shape'),
    (dict(label_map_0=np.full((13, 17), 9, np.uint8)), 'outside 0..8'),
])
def test_inconsistent_files(tmp_path, change, message):
    proposals, _, _ = random_proposals()
    path = tmp_path / 'a.npz'
    proposals.save(path)
    arrays = {**dict(np.load(path)), **change}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=f'a.npz: .*{message}'):
        load_proposals(path)


def test_a_number_of_labels_that_nothing_backs_and_an_image_without_pixels(tmp_path):
    arrays = dict(format=1, size=[2, 2], num_labels=[2**40], level=np.zeros(0, int), row=np.zeros(0, int), origin='x',
                  label_map_0=np.zeros((2, 2), int), members_0=np.zeros((0, 2**37), np.uint8))
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(ValueError, match='a.npz: 1099511627776 labels; more than'):
        load_proposals(tmp_path / 'a.npz')
    np.savez(tmp_path / 'b.npz', **{**arrays, 'size': [0, 2], 'num_labels': [1], 'label_map_0': np.zeros((0, 2), int),
                                    'members_0': np.zeros((0, 1), np.uint8)})
    with pytest.raises(ValueError, match='b.npz: the image has 0 x 2 pixels'):
        load_proposals(tmp_path / 'b.npz')
