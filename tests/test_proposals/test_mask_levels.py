"""Arbitrary masks to label maps and memberships: mmiam/proposals/io/masks.py."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmiam.proposals.io import proposals_from_masks
from mmiam.proposals.io.masks import _Level


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
def test_masks_come_back_exactly(count, height, width, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < rng.random()
    proposals = proposals_from_masks(iter(masks), (height, width), np.arange(count, 0, -1))
    np.testing.assert_array_equal(proposals.masks(), masks)
    np.testing.assert_array_equal(proposals.areas(), masks.sum((1, 2)))


def test_atoms_are_what_the_same_masks_hold():
    masks = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[1, 1, 1, 1]]], bool)
    proposals = proposals_from_masks(masks)
    assert len(proposals.label_maps) == 1 and len(np.unique(proposals.label_maps[0])) == 4


def test_many_unlike_masks_take_several_levels():
    rng = np.random.default_rng(0)
    masks = rng.random((60, 12, 12)) < .5  # every pixel soon is an atom of its own
    proposals = proposals_from_masks(masks)
    assert len(proposals.label_maps) > 1
    np.testing.assert_array_equal(proposals.masks(), masks)


def test_errors():
    with pytest.raises(ValueError, match='no size'):
        proposals_from_masks([])
    with pytest.raises(ValueError, match='mask 1 is .*transposed'):
        proposals_from_masks([np.zeros((2, 3), bool), np.zeros((3, 2), bool)])
    level = _Level((2, 2))
    assert not level.is_full()
