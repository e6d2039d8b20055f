import numpy as np
import pytest
import torch

from mmiam.proposals import SegmentProposals, select_candidates

AREAS = np.full(4, .1)


def test_top_k_in_order():
    scores = torch.tensor([[.1, .9, .5, .7], [.4, .3, .2, .1]])
    result = select_candidates(scores, torch.ones(2, 4), AREAS, k=2)
    assert [r.tolist() for r in result] == [[1, 3], [0, 1]]


def test_area_limits_come_before_the_ranking():
    areas = np.array([1e-5, 2e-5, .849, .85])
    result = select_candidates(np.array([[4., 1, 2, 3]]), np.ones((1, 4)), areas, k=2)
    assert result[0].tolist() == [2, 1]


def test_overlap_rule_max_looks_at_all_maps_and_own_at_one():
    scores = np.array([[2., 1.], [1., 2.]])
    mass = np.array([[.1, .3], [.5, .1]])
    both = AREAS[:2]
    assert [r.tolist() for r in select_candidates(scores, mass, both, overlap_rule='max')] == [[0, 1], [1, 0]]
    assert [r.tolist() for r in select_candidates(scores, mass, both, overlap_rule='own')] == [[1], [0]]


def test_overlap_is_tested_after_the_top_k():
    # the paper retains k and then discards: the third best does not move up
    result = select_candidates(np.array([[3., 2, 1]]), np.array([[.1, .2, .9]]), AREAS[:3], k=2)
    assert result[0].tolist() == [1]


def test_near_duplicates_count_once():
    label_map = np.concatenate([np.zeros(97, int), np.ones(3, int), np.full(100, 2)])[None]
    members = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)  # the first two: IoU 0.97
    proposals = SegmentProposals([label_map], [members])
    scores, mass = np.array([[3., 2, 1]]), np.ones((1, 3))
    areas = proposals.areas() / 200
    assert select_candidates(scores, mass, areas, k=2, proposals=proposals)[0].tolist() == [0, 2]
    assert select_candidates(scores, mass, areas, k=2, proposals=proposals, dedupe_iou=.98)[0].tolist() == [0, 1]
    assert select_candidates(scores, mass, areas, k=2)[0].tolist() == [0, 1]


def test_many_duplicates_are_passed_over():
    # 50 equal proposals stand before one that differs: farther down than one round of comparisons looks
    members = np.zeros((51, 2), bool)
    members[:50, 0] = members[50, 1] = True
    proposals = SegmentProposals([np.array([[0, 1]])], [members])
    result = select_candidates(-np.arange(51.)[None], np.ones((1, 51)), np.full(51, .5), k=2, proposals=proposals)
    assert result[0].tolist() == [0, 50]


@pytest.mark.parametrize('change, message', [(dict(k=0), 'k must be'), (dict(overlap_rule='mean'), 'overlap_rule'),
                                             (dict(areas=np.ones(3)), 'areas')])
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        select_candidates(**{**dict(scores=np.ones((1, 4)), mass=np.ones((1, 4)), areas=AREAS), **change})
