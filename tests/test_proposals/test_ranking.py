import numpy as np
import pytest

from mmiam.proposals.generators.cues import SuperpixelGraph, agreement_cues, region_cues
from mmiam.proposals.generators.merging import MergeTree, adjacency, region_stats
from mmiam.proposals.generators.ranking import diverse_order, objectness


def test_region_cues_by_hand():
    label_map = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    edges = np.full((3, 3), .5)
    edges[2] = 1.
    color = np.array([[[0, 0, 1], [0, 0, 1], [0, 0, 0]]])
    stats = region_stats(label_map, color, color * 0)
    graph = SuperpixelGraph(label_map, *adjacency(label_map, edges), stats.color)
    tree = MergeTree(3, np.array([[0, 2], [3, 1]]), np.array([0, 0, 0, .25, 1.]))
    regions = np.array([0, 3])
    cues = region_cues(graph, tree, regions, tree.membership()[regions])
    np.testing.assert_allclose(cues['order'], [0, 3 / 5])
    np.testing.assert_allclose(cues['persistence'], [.25, .75])
    # label 0: two steps to label 1 at .5 and two to label 2 at .75; region {0, 2}: two at .5 and one at .75
    np.testing.assert_allclose(cues['edge'], [(2 * .5 + 2 * .75) / 4, (2 * .5 + (.5 + 1) / 2) / 3], rtol=1e-6)
    # ring of label 0: half label 1 (color 1), half label 2 (color 0)
    np.testing.assert_allclose(cues['contrast'], [.5, 1.], rtol=1e-6)
    np.testing.assert_allclose(cues['fill'], [1, 7 / 9], rtol=1e-6)
    np.testing.assert_allclose(cues['inner'], [4 / 8, 3 / 12], rtol=1e-6)
    np.testing.assert_allclose(cues['compact'], [4 * np.pi * 4 / 64, 4 * np.pi * 7 / 144], rtol=1e-6)


def test_agreement_by_hand():
    iou = np.array([[1, .2, .5, .6], [.2, 1, .3, .1], [.5, .3, 1, .4], [.6, .1, .4, 1]])
    cues = agreement_cues(iou, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(cues['agreement'], [(1 + .6) / 2, (1 + .3) / 2, (.5 + 1) / 2, (.6 + 1) / 2])
    np.testing.assert_allclose(cues['density'][0], np.log(1 + .2**4 + .5**4 + .6**4))


def test_objectness_goes_by_ranks():
    weights = dict(a=2., b=1.)
    result = objectness(dict(a=np.array([10., 1e9, -5.]), b=np.array([0., 0., 7.])), weights)
    np.testing.assert_allclose(result, [(2 * 2 / 3 + 1.5 / 3) / 3, (2 * 1 + 1.5 / 3) / 3, (2 / 3 + 1) / 3])


def test_order_is_diverse_and_without_duplicates():
    scores = np.array([.9, .89, .88, .5])
    iou = np.eye(4)
    iou[0, 1] = iou[1, 0] = .96  # a near-duplicate of the best
    iou[0, 2] = iou[2, 0] = .9
    order, values = diverse_order(scores, iou, limit=10, penalty=1.)
    assert order.tolist() == [0, 3, 2]
    np.testing.assert_allclose(values, [.9, .5, .88 - .9**4], rtol=1e-6)
    assert diverse_order(scores, iou, 10, penalty=0.)[0].tolist() == [0, 2, 3]
    assert diverse_order(scores, iou, 1)[0].tolist() == [0]


def test_penalty_is_the_largest_overlap_so_far():
    scores = np.array([.9, .8, .7])
    iou = np.array([[1, .1, .9], [.1, 1, .2], [.9, .2, 1]])
    _, values = diverse_order(scores, iou, 3, penalty=1.)
    assert values[2] == pytest.approx(.7 - .9**4, rel=1e-4)
    assert (np.diff(values) <= 0).all()
