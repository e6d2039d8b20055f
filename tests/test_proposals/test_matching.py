import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from test_container import random_proposals

from mmiam.proposals import SegmentProposals, match_proposals, prior_scores, proposal_iou
from mmiam.proposals.io.masks import proposals_from_masks


def slow_scores(prms, masks, alpha, side):
    """Eq. of Sec. 3.2 with the contour by loops: dilation minus erosion, out-of-image pixels ignored."""
    r, (height, width) = side // 2, masks.shape[1:]
    contours = np.zeros(masks.shape, bool)
    for j, mask in enumerate(masks):
        for y in range(height):
            for x in range(width):
                around = mask[max(0, y - r):y + r + 1, max(0, x - r):x + r + 1]
                contours[j, y, x] = around.any() and not around.all()
    mass = np.einsum('phw,nhw->pn', prms, masks)
    return alpha * mass + np.einsum('phw,nhw->pn', prms, contours), mass


def random_maps(count, size, seed=0):
    maps = torch.rand(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return maps / maps.sum((1, 2), keepdim=True)


def test_by_hand():
    # proposal: the two left pixels of five; contour side 3: the two pixels at the cut
    proposals = SegmentProposals([np.array([[0, 0, 1, 2, 2]])], [np.array([[1, 0, 0], [1, 1, 1]], bool)])
    prm = torch.tensor([[[.1, .2, .3, .4, 0.]]])
    scores, mass = match_proposals(prm, proposals, alpha=.5, contour_size=3)
    torch.testing.assert_close(mass, torch.tensor([[.3, 1.]]))
    torch.testing.assert_close(scores, torch.tensor([[.5 * .3 + .2 + .3, .5]]))  # the whole image has no contour


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6), st.sampled_from([1, 3, 5]),
       st.floats(0, 2))
def test_equals_slow_reference(height, width, labels, seed, side, alpha):
    proposals, _ = random_proposals(seed, (height, width), (labels, 3), (4, 3))
    prms = random_maps(2, (height, width), seed)
    for found, expected in zip(match_proposals(prms, proposals, alpha, side),
                               slow_scores(prms.numpy(), proposals.masks(), alpha, side)):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    default = slow_scores(prms.numpy(), proposals.masks(), .8, 5)[0]
    np.testing.assert_allclose(match_proposals(prms, proposals)[0].numpy(), default, atol=1e-12)


def test_types_cache_and_geometry():
    proposals, _ = random_proposals(labels=(5, 12))
    prms = random_maps(1, proposals.size)
    first, _ = match_proposals(prms, proposals)
    assert proposals.cache and not proposals.flip().cache
    assert torch.equal(first, match_proposals(prms, proposals)[0])
    torch.testing.assert_close(first, match_proposals(prms.flip(2), proposals.flip())[0])
    scores, mass = match_proposals(prms.float(), proposals)
    assert scores.dtype == mass.dtype == torch.float32
    assert (scores.double() - first).abs().max() < 1e-6


def test_many_ragged_masks_of_many_levels():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    masks = np.array([np.hypot(y - rng.integers(40), x - rng.integers(48)) + rng.normal(0, 3, (40, 48)) < 14
                      for _ in range(300)])
    proposals, prms = proposals_from_masks(masks), random_maps(50, (40, 48))
    assert len(proposals.label_maps) > 7
    window = dict(size=(1, 5, 5), mode='nearest')
    contours = ndimage.maximum_filter(masks, **window) != ndimage.minimum_filter(masks, **window)
    scores, mass = match_proposals(prms, proposals)
    np.testing.assert_allclose(mass, np.einsum('phw,nhw->pn', prms, masks), atol=1e-12)
    np.testing.assert_allclose(scores - .8 * mass, np.einsum('phw,nhw->pn', prms, contours), atol=1e-12)


def test_nothing_to_match():
    proposals, _ = random_proposals()
    assert match_proposals(torch.zeros(0, 13, 17), proposals)[0].shape == (0, 11)
    assert match_proposals(torch.zeros(2, 13, 17), SegmentProposals.empty((13, 17)))[1].shape == (2, 0)
    assert not match_proposals(torch.zeros(2, 13, 17), proposals)[0].any()
    assert proposal_iou(np.ones((2, 3, 4), bool), SegmentProposals.empty((3, 4))).shape == (2, 0)
    for shape in [(13, 17), (1, 17, 13)]:
        with pytest.raises(ValueError, match='prms must be'):
            match_proposals(torch.zeros(shape), proposals)
        with pytest.raises(ValueError, match=r'masks must be \(P, 13, 17\)'):
            proposal_iou(torch.zeros(shape, dtype=torch.bool), proposals)


@pytest.mark.parametrize('size', [(9, 7), (1, 1), (16, 5)])
@pytest.mark.parametrize('void_share', [None, .2])
def test_proposal_iou_equals_expanded_masks(size, void_share):
    proposals, _ = random_proposals(size=size)
    rng = np.random.default_rng(1)
    wanted = rng.random((4, *size)) > 0.5
    wanted[0] = False
    void = None if void_share is None else rng.random(size) < void_share
    valid = np.ones(size, bool) if void is None else ~void
    found = proposal_iou(wanted, proposals, void)
    one, other = (wanted & valid)[:, None], (proposals.masks() & valid)[None]
    np.testing.assert_allclose(found, (one & other).sum((2, 3)) / np.maximum((one | other).sum((2, 3)), 1))


def test_prior_scores_of_the_ranking():
    proposals, _ = random_proposals(size=(9, 7))
    scores = prior_scores(proposals, rank_weight=2.)
    assert scores.shape == (1, len(proposals)) and scores[0, 0] == 0 and scores[0, -1] == pytest.approx(-2.)
    assert (np.diff(scores[0]) < 0).all()
