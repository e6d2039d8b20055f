import copy

import numpy as np
import pytest
from support import load_tool

from mmiam.proposals.generators.merging import MergeTree, RegionStats, adjacency, merge_regions, region_stats

compare = load_tool('tools/proposals/compare_generators.py')
ROW = np.array([[0, 0, 1, 1, 1, 2, 3]])


def stats_of(label_map, color=None):
    color = np.zeros((1, *label_map.shape), int) if color is None else color
    return region_stats(label_map, color, np.zeros((1, *label_map.shape), int))


def test_region_stats_by_hand():
    stats = stats_of(np.array([[0, 0, 1], [0, 1, 1]]), np.array([[[0, 1, 1], [1, 1, 2]]]))
    assert stats.area.tolist() == [.5, .5]
    np.testing.assert_allclose(stats.box, [[0, 0, 2 / 3, 1], [1 / 3, 0, 1, 1]])
    np.testing.assert_allclose(stats.color, [[1 / 3, 2 / 3, 0], [0, 2 / 3, 1 / 3]])
    union = stats.merged(np.array([0]), np.array([1]))
    np.testing.assert_allclose(union.color, [[1 / 6, 2 / 3, 1 / 6]])
    np.testing.assert_allclose(union.box, [[0, 0, 1, 1]])


def test_adjacency_by_hand():
    edges = np.array([[0., .2, .4], [.6, .8, 1.]])
    pairs, length, strength = adjacency(np.array([[0, 0, 1], [2, 2, 1]]), edges)
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert length.tolist() == [1, 2, 1]
    np.testing.assert_allclose(strength, [.3, .3 + .5, .9])


def test_most_similar_regions_merge_first():
    # colors 0 0 | 1 | 1: labels 2 and 3 are alike, 0 and 1 are alike
    color = np.array([[[0, 0, 0, 0, 0, 1, 1]]])
    tree = merge_regions(stats_of(ROW, color), *adjacency(ROW, np.zeros(ROW.shape)), dict(color=1))
    assert sorted(map(sorted, tree.children[:2].tolist())) == [[0, 1], [2, 3]]
    assert sorted(tree.children[2].tolist()) == [4, 5]
    assert tree.height[-1] == pytest.approx(1) and tree.height[:6].tolist() == [0] * 6


def test_weak_edges_give_way_first():
    edges = np.array([[0, .9, .9, 0, .1, .1, .1]])
    tree = merge_regions(stats_of(ROW), *adjacency(ROW, edges), dict(edge=1))
    assert [sorted(c) for c in tree.children.tolist()][0] in ([1, 2], [2, 3])
    assert 0 in tree.children[-1]


def test_tree_membership_parents_and_leaf_order():
    tree = MergeTree(4, np.array([[0, 2], [1, 3], [4, 5]]), np.zeros(7))
    assert tree.parents.tolist() == [4, 5, 4, 5, 6, 6, -1]
    assert tree.membership()[4:].astype(int).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]]
    order = tree.leaf_order()
    for row in tree.membership()[:, order]:  # under every region the leaves are consecutive
        assert (np.diff(np.flatnonzero(row)) == 1).all()


@pytest.mark.parametrize('weights', [dict(color=1, texture=1, size=1, fill=1, edge=2), dict(size=1), dict(fill=1)])
def test_random_maps_end_in_one_region_with_rising_heights(weights):
    rng = np.random.default_rng(3)
    label_map = rng.permutation(80).reshape(8, 10)
    stats = stats_of(label_map, rng.integers(0, 9, (3, 8, 10)))
    before = copy.deepcopy(stats)
    tree = merge_regions(copy.copy(stats), *adjacency(label_map, rng.random((8, 10))), weights)
    assert len(tree.children) == 79 and tree.membership()[-1].all()
    assert (tree.height[80:] >= tree.height[tree.children].max(1)).all()
    np.testing.assert_array_equal(stats.area, before.area)  # a shallow copy is enough for several trees
    touching = {tuple(p) for p in adjacency(label_map, np.zeros((8, 10)))[0].tolist()}
    a, b = sorted(tree.children[0].tolist())
    assert (a, b) in touching


@pytest.mark.parametrize('criterion', ['area', 'volume', 'dynamics', 'average'])
def test_trees_of_higra_are_binary_and_join_weak_edges_first(criterion):
    pytest.importorskip('higra')
    label_map = np.array([[0, 0, 1, 1, 2, 2, 3, 3]])
    edges = np.array([[0, .1, .1, .9, .9, .2, .2, 0]])
    stats = RegionStats(np.full(4, 2.), *[None] * 3)
    tree = compare.ByHigra().tree(stats, adjacency(label_map, edges), criterion)
    assert [sorted(c) for c in tree.children.tolist()][-1] == [4, 5]
    assert sorted(map(sorted, tree.children[:2].tolist())) == [[0, 1], [2, 3]]
    assert tree.membership()[-1].all() and (np.diff(tree.height) >= 0).all()


def test_regions_of_many_children_become_binary():
    tree = compare.binary_tree(4, np.array([4, 4, 4, 5, 5, 5]), np.array([0, 0, 0, 0, .5, .8]))
    assert tree.children.tolist() == [[0, 1], [4, 2], [3, 5]]
    assert tree.height.tolist() == [0, 0, 0, 0, .5, .5, .8]
