import numpy as np
import pytest
from test_proposal_tools import tool

from mmiam.proposals import SegmentProposals, proposal_iou

best_so_far, summarize = tool('quality').best_so_far, tool('quality').summarize


def test_sizes_must_agree_and_nothing_is_fine():
    with pytest.raises(ValueError, match='masks must be'):
        proposal_iou(np.zeros((1, 4, 3), bool), SegmentProposals.empty((3, 4)))
    assert proposal_iou(np.ones((2, 3, 4), bool), SegmentProposals.empty((3, 4))).shape == (2, 0)
    assert best_so_far(np.zeros((2, 0)), (10, )).tolist() == [[0, 0], [0, 0]]


def test_figures_by_hand():
    best = best_so_far(np.array([[.2, .6, .9], [.1, .4, .4], [.8, .1, .1]]), (1, 2))
    assert best.tolist() == [[.2, .6, .9], [.1, .4, .4], [.8, .8, .8]]
    result = summarize(best, np.array([0, 0, 1]), [3, 5], ('a', 'b'), (1, 2))
    assert result['mean_best_iou_at_2'] == pytest.approx(.6)
    assert result['mean_best_iou'] == pytest.approx(.7)
    assert (result['recall_50_at_1'], result['recall_70'], result['recall_90']) == pytest.approx((1 / 3, 2 / 3, 1 / 3))
    assert result['abo_per_class'] == pytest.approx(dict(a=.65, b=.8)) and result['abo'] == pytest.approx(.725)
    assert (result['num_images'], result['num_instances'], result['mean_proposals']) == (2, 3, 4.)


def test_no_instance_gives_nan():
    result = summarize(np.zeros((0, 7)), np.zeros(0, int), [4])
    assert np.isnan(result['mean_best_iou']) and np.isnan(result['abo']) and result['num_instances'] == 0
