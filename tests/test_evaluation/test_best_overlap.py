import math

import numpy as np
import pytest

from mmiam.evaluation.functional.best_overlap import THRESHOLDS, best_overlap, best_threshold_iou
from mmiam.evaluation.functional.voc_instance_ap import ImageOverlaps


def test_abo_by_hand():
    images = [
        # class 0: best of its own class .6 (the .9 is of class 1); class 1: .9
        ImageOverlaps([.1, .9], [0, 1], [0, 1], np.array([[.6, 1.], [.9, .9]])),
        ImageOverlaps([], [], [0, 0], np.zeros((0, 2))),  # missed altogether: 0
        ImageOverlaps([.5], [2], [], np.zeros((1, 0))),  # no ground truth: nothing to cover
    ]
    result = best_overlap(images, 3)
    np.testing.assert_allclose(result.per_class, [.2, .9, np.nan])
    assert result.class_mean == pytest.approx(.55)
    assert result.instance_mean == pytest.approx((.6 + .9) / 4)
    assert result.labels.tolist() == [0, 1, 0, 0]
    assert math.isnan(best_overlap([], 2).class_mean) and math.isnan(best_overlap([], 2).instance_mean)


def test_best_threshold_by_hand():
    soft = np.array([[[.9, .6, .3, .1]]])
    truth = np.array([[[True, True, False, False]], [[True, True, True, False]]])
    # theta in (.3, .6]: exactly the first; in (.1, .3]: exactly the second
    np.testing.assert_array_equal(best_threshold_iou(soft, truth), [[1., 1.]])
    assert best_threshold_iou(np.array([[[.5, .4]]]), truth[:1, :, 1:3], np.array([.5]))[0, 0] == 1  # inclusive
    # at .5 alone: 2 pixels, of 2 and of 3
    np.testing.assert_allclose(best_threshold_iou(soft, truth, np.array([.5])), [[1., 2 / 3]])


@pytest.mark.parametrize('seed', range(5))
def test_best_threshold_against_loops(seed):
    rng = np.random.default_rng(seed)
    maps = np.round(rng.random((3, 4, 5)), 2)
    masks = rng.random((2, 4, 5)) < .4
    expected = np.zeros((3, 2))
    for i, soft in enumerate(maps):
        for j, mask in enumerate(masks):
            for theta in THRESHOLDS:
                binary = soft >= theta
                expected[i, j] = max(expected[i, j], (binary & mask).sum() / max((binary | mask).sum(), 1))
    np.testing.assert_array_equal(best_threshold_iou(maps, masks), expected)


def test_empty_and_bad_input():
    assert best_threshold_iou(np.zeros((0, 2, 2)), np.zeros((3, 2, 2))).shape == (0, 3)
    assert best_threshold_iou(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)))[0, 0] == 0
    with pytest.raises(ValueError, match='shape'):
        best_threshold_iou(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match='increase'):
        best_threshold_iou(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.array([.5, .5]))
    with pytest.raises(ValueError, match='NaN'):
        best_threshold_iou(np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)))
