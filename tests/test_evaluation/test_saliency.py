"""Figures of salient object detection: by hand, and against a slow reference written from the definitions."""
import math

import numpy as np
import pytest

from mmiam.evaluation.functional.saliency import image_saliency, saliency_scores


def slow_f(chosen, mask, beta2=0.3):
    """F_beta of a binary map by precision and recall, a pixel at a time."""
    hits = sum(bool(a and b) for a, b in zip(chosen.ravel(), mask.ravel()))
    if hits == 0:
        return 0.
    precision, recall = hits / int(chosen.sum()), hits / int(mask.sum())
    return (1 + beta2) * precision * recall / (beta2 * precision + recall)


def slow_image(saliency, mask):
    """Curve from threshold 255 to 0, adaptive F_beta, MAE."""
    low, high = saliency.min(), saliency.max()
    values = (saliency - low) / (high - low) if high > low else saliency
    levels = np.floor(values * 255)
    curve = [slow_f(levels >= t, mask) for t in range(255, -1, -1)]
    adaptive = slow_f(values >= min(1, 2 * values.mean()), mask)
    return curve, adaptive, sum(abs(a - float(b)) for a, b in zip(values.ravel(), mask.ravel())) / mask.size


def test_by_hand():
    # values 0, .25, .5, 1; the object is the last two. Levels 0, 63, 127, 255.
    found = image_saliency(np.array([[0., .25], [.5, 1.]]), np.array([[False, False], [True, True]]))
    one, three, all_marked = 1.3 * .5 / (.3 + .5), 1.3 * (2 / 3) / (.3 * 2 / 3 + 1), 1.3 * .5 / (.3 * .5 + 1)
    np.testing.assert_allclose(found.curve, [one] * 128 + [1] * 64 + [three] * 63 + [all_marked])
    scores = saliency_scores([found])
    assert scores.metrics() == dict(  # the adaptive threshold is 2 * 1.75 / 4 = 0.875
        F_mean=pytest.approx((128 * one + 64 + 63 * three + all_marked) / 256), F_adaptive=pytest.approx(one), F_max=1.,
        MAE=pytest.approx(.1875))
    assert scores.best_thr == pytest.approx(127 / 255)
    assert all(math.isnan(value) for value in (*saliency_scores([]).metrics().values(), saliency_scores([]).best_thr))


@pytest.mark.parametrize('seed', range(8))
def test_against_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    saliency = rng.random((7, 5)) ** 3 * 4 - 1
    mask = rng.random((7, 5)) < (0, .2, .5, 1)[seed % 4]
    if seed in (1, 6):
        saliency = np.round(saliency)  # ties, and values exactly on a threshold
    curve, adaptive, mae = slow_image(saliency, mask)
    found = image_saliency(saliency, mask)
    np.testing.assert_allclose(found.curve, curve, atol=1e-12)
    assert found.adaptive == pytest.approx(adaptive, abs=1e-12) and found.mae == pytest.approx(mae, abs=1e-12)


def test_the_maximum_is_that_of_the_mean_curve():
    """Two images with their optimum at different thresholds: no single threshold serves both."""
    mask = np.array([[True, True, False, False]])
    images = [image_saliency(np.array([[1., .9, .8, 0.]]), mask), image_saliency(np.array([[1., .2, .1, 0.]]), mask)]
    scores = saliency_scores(images)
    assert all(image.curve.max() == pytest.approx(1) for image in images) and scores.metrics()['F_max'] < 1
    np.testing.assert_allclose(scores.curve, (images[0].curve + images[1].curve) / 2)


def test_constant_maps_keep_their_value():
    """A map of zeros marks every pixel at threshold 0, also at the adaptive one, as the standard toolbox has it."""
    mask = np.array([[True, False, False, False]])
    everything = 1.3 * .25 / (.3 * .25 + 1)
    for value, last in ((0., 0), (.5, 127), (1., 255)):
        found = image_saliency(np.full((1, 4), value), mask)
        np.testing.assert_allclose(found.curve[::-1], [everything] * (last + 1) + [0.] * (255 - last))
        assert found.mae == pytest.approx(.25 * abs(1 - value) + .75 * value)
        assert found.adaptive == pytest.approx(everything if value in (0., 1.) else 0.)  # at .5 the threshold is 1


def test_pixels_that_are_not_valid_count_nowhere():
    rng = np.random.default_rng(0)
    values, mask, valid = rng.random((6, 8)), rng.random((6, 8)) < .4, rng.random((6, 8)) < .7
    values.ravel()[:2], valid.ravel()[:2] = (0, 1), True
    found = image_saliency(values, mask, valid=valid)
    expected = image_saliency(values[valid][None], mask[valid][None])
    assert found.adaptive == expected.adaptive and found.mae == expected.mae
    assert np.array_equal(found.curve, expected.curve)
    values[~valid], mask[~valid] = .5, True
    assert image_saliency(values, mask, valid=valid).adaptive == found.adaptive


@pytest.mark.parametrize('saliency, options, message', [
    (np.zeros((2, 3)), {}, r'\(2, 3\) pixels, the mask \(2, 2\)'), ([[0., np.nan], [0, 0]], {}, 'NaN or infinity'),
    (np.full((2, 2), -3.), {}, '-3 everywhere'), (np.zeros((2, 2)), dict(valid=np.zeros((2, 2), bool)), 'no pixel')])
def test_errors(saliency, options, message):
    with pytest.raises(ValueError, match=message):
        image_saliency(saliency, np.zeros((2, 2), bool), **options)
