import cv2
import numpy as np
import pytest
import torch

from mmiam.visualization.overlays import color_heatmap, instance_colors, overlay_heatmap, overlay_instances

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
IMAGE.flags.writeable = False


@pytest.mark.parametrize('image', [np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match='the image must be uint8'):
        overlay_heatmap(image, np.zeros((4, 4)))


def test_heat_colors_are_the_map_and_rise_in_lightness():
    colored = color_heatmap(np.linspace(0, 1, 64)[None])
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[..., ::-1]
    assert np.array_equal(colored[0, [0, -1]], table[0, [0, -1]])
    lightness = cv2.cvtColor(colored.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, :, 0]
    assert np.all(np.diff(lightness) > 0)  # perceptual: larger is always lighter
    odd = color_heatmap(np.array([[np.nan, np.inf, -np.inf, -3, 7]]))
    assert np.array_equal(odd, color_heatmap([[0., 1., 0., 0, 1]]))
    with pytest.raises(ValueError, match='heat must be a map'):
        color_heatmap(np.zeros((2, 3, 4)))


def test_overlay_blends_by_hand():
    gray = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
    for heat, full in ((torch.ones(3, 5), np.ones), (np.zeros((0, 0)), np.zeros)):  # an empty map is zero
        result = overlay_heatmap(IMAGE, heat)
        assert result.dtype == np.uint8
        assert np.array_equal(result, np.round(0.65 * color_heatmap(full((12, 20))) + 0.35 * gray))


def test_instances_fill_contour_and_leave_the_rest():
    mask = np.zeros((1, 12, 20), bool)
    mask[0, 2:10, 3:13] = True
    mask[0, 5:7, 6:9] = False
    inner = cv2.erode(mask[0].astype(np.uint8), np.ones((3, 3))) > 0  # the edge of the hole is a contour, too
    result, color = overlay_instances(IMAGE, torch.from_numpy(mask)), instance_colors(1)[0]
    assert np.array_equal(result[~mask[0]], IMAGE[~mask[0]])
    assert np.array_equal(result[inner], np.round(0.45 * color + 0.55 * IMAGE[inner])) and inner.any()
    assert (result[3, 5:10] != color).any() and (result[4, 6:9] == color).all() and (result[2, 3:13] == color).all()


@pytest.mark.parametrize('masks', [np.zeros((0, 12, 20), bool), np.zeros((0, 0, 0), bool), np.zeros((1, 12, 20), bool)])
def test_no_instances_and_empty_masks_draw_nothing(masks):
    assert np.array_equal(overlay_instances(IMAGE, masks, ['dog'] * len(masks)), IMAGE)


def test_labels():
    image, mask = np.full((120, 180, 3), 90, np.uint8), np.zeros((1, 120, 180), bool)
    mask[0, 60:90, 150:180] = True  # the label must be moved in from the right
    plain, named = overlay_instances(image, mask), overlay_instances(image, mask, ['toucan é'])
    rows = np.nonzero((plain != named).any((1, 2)))[0]
    assert len(rows) and rows.max() <= 61 and (named[:, :60] == plain[:, :60]).all()


@pytest.mark.parametrize('masks, names, message', [
    (np.zeros((1, 4, 4)), None, 'masks must be'), (np.ones((1, 12, 20)), ['a', 'b'], '1 masks but 2 names')])
def test_instance_errors(masks, names, message):
    with pytest.raises(ValueError, match=message):
        overlay_instances(IMAGE, masks, names)
