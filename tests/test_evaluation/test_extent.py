import math

import numpy as np
import pytest

from mmiam.evaluation.functional.best_overlap import best_threshold_iou
from mmiam.evaluation.functional.extent import VIEWS, ExtentSamples, add_image, density


def views():
    return {name: ExtentSamples() for name in VIEWS}


def test_both_views_by_hand():
    """Maps of classes 0, 0, 1; masks of classes 0, 2: the second mask has no map of its class, the third map matches
    the first mask of another class."""
    found = views()
    iou = np.array([[.3, .1], [.5, .6], [.2, .1]])
    add_image(found, iou, np.array([0, 0, 1]), np.array([.25, .04]), np.array([0, 2]))
    instance, maps = found['instance'], found['map']
    assert (instance.iou, instance.size, instance.label) == ([.5, 0.], [.25, .04], [0, 2])
    assert (maps.iou, maps.size, maps.label) == ([.3, .6, .2], [.25, .04, .25], [0, 2, 0])
    assert instance.mean() == .25 and maps.mean() == pytest.approx(1.1 / 3)
    assert instance.by_class(3)[::2] == [.5, 0.] and math.isnan(instance.by_class(3)[1])
    assert maps.by_class(3)[0] == .25 and maps.by_class(3)[2] == .6


def slow(maps, map_labels, masks, labels):
    """Samples of both views from the maps themselves: all thresholds, all pairs."""
    def iou(one, mask):
        return max(((one >= t) & mask).sum() / ((one >= t) | mask).sum() for t in np.linspace(.01, .99, 99))
    instance = [max([iou(one, mask) for one, a in zip(maps, map_labels) if a == b], default=0.)
                for mask, b in zip(masks, labels)]
    return instance, [max(iou(one, mask) for mask in masks) for one in maps]


def test_slow_reference():
    rng = np.random.default_rng(0)
    found, expected = views(), ([], [])
    for number in (4, 1, 0):
        maps, masks = rng.random((number, 5, 6)).round(3), rng.random((3, 5, 6)) < .4
        map_labels, labels = rng.integers(0, 2, number), rng.integers(0, 2, 3)
        add_image(found, best_threshold_iou(maps, masks), map_labels, masks.mean((1, 2)), labels)
        for values, more in zip(expected, slow(maps, map_labels, masks, labels)):
            values += more
    assert found['instance'].iou == pytest.approx(expected[0]) and len(expected[0]) == 9
    assert found['map'].iou == pytest.approx(expected[1]) and len(expected[1]) == 5


def test_image_without_instances_gives_no_sample():
    found = views()
    add_image(found, np.zeros((2, 0)), np.array([0, 1]), np.zeros(0), np.zeros(0, int))
    assert not found['map'].iou and math.isnan(found['map'].mean()) and math.isnan(found['map'].by_class(1)[0])


def test_size_groups():
    samples = ExtentSamples(iou=[.1, .2, .4, 1.], size=[0., .1, .5, 1.], label=[0] * 4)
    assert samples.by_size((0., .1, .5, 1.)) == [
        dict(low=0., high=.1, number=1, mean=.1), dict(low=.1, high=.5, number=1, mean=.2),
        dict(low=.5, high=1., number=2, mean=.7)]
    assert samples.by_size((0., .05, .06, 1.))[1] == dict(low=.05, high=.06, number=0, mean=None)
    assert sum(group['number'] for group in samples.by_size()) == 4


def test_density():
    plain = density([.05, .05, .95], [.95, .95, .55], bins=10, sigma=0)
    assert plain[9, 0] == pytest.approx(2 / 3 * 100) and plain[5, 9] == pytest.approx(100 / 3)
    assert np.count_nonzero(plain) == 2  # rows are IoU, columns size
    smooth = density([0., .5], [0., 1.], bins=20, sigma=1.)
    assert smooth.mean() == pytest.approx(1) and smooth[0, 0] == smooth.max() and (smooth >= 0).all()
    assert smooth[0, 0] > smooth[0, 1] > smooth[0, 3]
    assert not density([], []).any()


def test_errors():
    with pytest.raises(ValueError, match=r'iou \(2, 3\) does not fit 1 maps'):
        add_image(views(), np.zeros((2, 3)), np.zeros(1, int), np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match='must lie in'):
        density([1.2], [.5])
