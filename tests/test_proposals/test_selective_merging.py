import numpy as np
import pytest

from mmiam.proposals.generators import SelectiveMerging
from mmiam.proposals.generators.features import color_bins, convert_color, edge_strength, texture_bins


def scene(size=(90, 120), seed=0):
    """A textured disc and a box on a textured ground; returns the image and the two masks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size[0], :size[1]]
    disc = (y - 40)**2 + (x - 40)**2 < 22**2
    box = (y > 30) & (y < 75) & (x > 80) & (x < 110)
    image = np.where(disc[..., None], (200, 60, 40), np.where(box[..., None], (40, 60, 200), (90, 140, 80)))
    return np.clip(image + rng.integers(-12, 13, (*size, 1)), 0, 255).astype(np.uint8), np.stack([disc, box])


def test_finds_and_ranks_plain_objects():
    from mmiam.proposals import proposal_iou
    image, masks = scene()
    proposals = SelectiveMerging()(image)
    iou = proposal_iou(masks, proposals).numpy()
    assert proposals.size == (90, 120)
    assert iou[:, :10].max(1).min() > .85
    assert (np.diff(proposals.scores) <= 0).all() and proposals.seconds > 0


def test_no_two_proposals_are_near_duplicates_and_areas_are_in_range():
    image, _ = scene()
    proposals = SelectiveMerging()(image)
    iou = proposals.pairwise_iou() - np.eye(len(proposals))
    assert len(proposals) > 5 and iou.max() < .95
    share = proposals.areas() / (90 * 120)
    assert share.min() >= 1e-3 and share.max() < .98


def test_is_deterministic_and_its_limits_hold():
    image, _ = scene()
    first, again = SelectiveMerging()(image), SelectiveMerging()(image)
    np.testing.assert_array_equal(first.masks(), again.masks())
    few = SelectiveMerging(max_proposals=4)(image)
    np.testing.assert_array_equal(few.masks(), first.masks(range(4)))
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    assert 0 < len(SelectiveMerging(pool_size=20)(noise)) <= 20


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (2, 2), (5, 40)])
def test_tiny_and_flat_images(size):
    assert len(SelectiveMerging()(np.zeros((*size, 3), np.uint8))) == 0  # one region: all of the image
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert SelectiveMerging()(noise).size == size


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match='uint8'):
        SelectiveMerging()(image)


def test_features():
    image, masks = scene()
    assert edge_strength(np.full((5, 6, 3), 90, np.uint8)).max() < 1e-4
    edges = edge_strength(image)
    assert 0 <= edges.min() and edges.max() < 1
    assert edges[40, 61:64].max() > 2 * np.median(edges)  # the disc's right rim
    assert color_bins(np.array([[[0, 10, 255]]], np.uint8)).ravel().tolist() == [0, 0, 24]
    bins = texture_bins(image)
    assert bins.min() >= 0 and bins.max() < 32 and bins.shape == (3, 90, 120)
    np.testing.assert_array_equal(convert_color(image, 'rgb'), image)
    with pytest.raises(ValueError, match='color space'):
        convert_color(image, 'cmyk')


def test_a_large_image_is_worked_on_small(monkeypatch):
    """Memory follows the working size; proposals have the image's."""
    image = scene()[0].repeat(3, 0).repeat(3, 1)
    generator = SelectiveMerging(work_pixels=90 * 120)
    seen = []
    monkeypatch.setattr(generator, 'superpixels', lambda *a: seen.append(a[0].shape) or SelectiveMerging.superpixels(
        generator, *a))
    proposals = generator(image)
    assert set(seen) == {(90, 120, 3)} and proposals.size == (270, 360)
    from mmiam.proposals import proposal_iou
    masks = scene()[1].repeat(3, 1).repeat(3, 2)
    assert proposal_iou(masks, proposals).numpy()[:, :10].max(1).min() > .85
