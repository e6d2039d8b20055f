import cv2
import numpy as np
import pytest
import torch

from mmiam.visualization.overlays import (
    check_image,
    color_heatmap,
    instance_colors,
    overlay_heatmap,
    overlay_instances,
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


def test_check_image_makes_rgb(image):
    gray, alpha = image[..., 0], np.dstack([image, image[..., :1]])
    assert np.array_equal(check_image(gray), np.dstack([gray] * 3))
    assert np.array_equal(check_image(alpha), image)


@pytest.mark.parametrize('bad', [np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_check_image_refuses(bad):
    with pytest.raises(ValueError, match='uint8'):
        check_image(bad)


def test_heat_colors_are_the_map_and_rise_in_lightness():
    colored = color_heatmap(np.linspace(0, 1, 64)[None])
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[..., ::-1]
    assert np.array_equal(colored[0, 0], table[0, 0]) and np.array_equal(colored[0, -1], table[0, -1])
    lightness = cv2.cvtColor(colored.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, :, 0]
    assert np.all(np.diff(lightness) > 0)  # perceptual: larger is always lighter


def test_heat_beyond_the_limits():
    odd = color_heatmap(np.array([[np.nan, np.inf, -np.inf, -3, 7]]))
    assert np.array_equal(odd, color_heatmap([[0., 1., 0., 0, 1]]))


def test_overlay_blends_by_hand(image):
    heat = torch.ones(3, 5)
    result = overlay_heatmap(image, heat)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
    expected = np.round(0.65 * color_heatmap(np.ones((12, 20))) + 0.35 * gray)
    assert result.shape == image.shape and result.dtype == np.uint8
    assert np.array_equal(result, expected)


def test_inputs_stay_as_they_are(image):
    before, masks = image.copy(), np.ones((1, 12, 20), bool)
    overlay_heatmap(image, np.ones((12, 20)))
    overlay_instances(image, masks, ['a'])
    assert np.array_equal(image, before) and masks.all()


def test_instances_fill_contour_and_leave_the_rest(image):
    mask = np.zeros((1, 12, 20), bool)
    mask[0, 3:9, 4:12] = True
    result, color = overlay_instances(image, torch.from_numpy(mask)), instance_colors(1)[0]
    inner = np.zeros_like(mask[0])
    inner[4:8, 5:11] = True
    assert np.array_equal(result[~mask[0]], image[~mask[0]])
    assert np.array_equal(result[inner], np.round(0.45 * color + 0.55 * image[inner]))
    assert (result[mask[0] & ~inner] == color).all()


def test_holes_have_contours_too(image):
    mask = np.ones((1, 12, 20), bool)
    mask[0, 5:7, 8:12] = False
    result = overlay_instances(image, mask)
    assert (result[4, 8:12] == instance_colors(1)[0]).all()
    assert np.array_equal(result[5:7, 8:12], image[5:7, 8:12])


def test_no_instances_and_empty_masks_draw_nothing(image):
    assert np.array_equal(overlay_instances(image, np.zeros((0, 12, 20), bool), []), image)
    assert np.array_equal(overlay_instances(image, np.zeros((0, 0, 0), bool)), image)
    assert np.array_equal(overlay_instances(image, np.zeros((1, 12, 20), bool), ['dog']), image)


def test_labels():
    image, mask = np.full((120, 180, 3), 90, np.uint8), np.zeros((1, 120, 180), bool)
    mask[0, 60:90, 150:180] = True  # the label must be moved in from the right
    plain, named = overlay_instances(image, mask), overlay_instances(image, mask, ['toucan é'])
    assert plain.shape == named.shape == (120, 180, 3)
    changed = np.nonzero((plain != named).any(-1))
    assert 0 < len(changed[0]) and changed[0].max() <= 61 and changed[1].max() < 180


@pytest.mark.parametrize('kwargs, word', [
    (dict(masks=np.zeros((1, 4, 4), bool)), 'masks'), (dict(names=['a', 'b']), 'names')])
def test_instance_errors(image, kwargs, word):
    with pytest.raises(ValueError, match=word):
        overlay_instances(image, **{'masks': np.ones((1, 12, 20), bool), **kwargs})
