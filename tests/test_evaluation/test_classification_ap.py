import math

import numpy as np
import pytest

from mmiam.evaluation.functional.classification_ap import classification_average_precision, ranking_ap


@pytest.mark.parametrize('seed', range(10))
def test_against_every_threshold(seed):
    rng = np.random.default_rng(seed)
    scores, positive = np.round(rng.random(30), 1), rng.random(30) < .3
    area, last = 0., 0.
    for threshold in sorted(set(scores), reverse=True):
        above = scores >= threshold
        recall = (above & positive).sum() / positive.sum()
        area += (recall - last) * (above & positive).sum() / above.sum()
        last = recall
    assert ranking_ap(scores, positive) == pytest.approx(area)


def test_means_by_hand():
    """Of the last of three classes no image is positive; of the second one, at the second of two places, not made
    monotone."""
    scores = np.array([[.9, .1, .5], [.8, .2, .5], [.1, .9, .5]])
    positive = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    result = classification_average_precision(scores, positive, min_positives=2)
    np.testing.assert_allclose(result.ap, [1, 1 / 3, np.nan])
    assert result.num_positives.tolist() == [2, 1, 0] and result.counted.tolist() == [True, False, False]
    assert result.mean == 1
    assert classification_average_precision(scores, positive).mean == pytest.approx(2 / 3)
    assert math.isnan(classification_average_precision(scores, positive, 3).mean)


def test_bad_input():
    with pytest.raises(ValueError, match='shape'):
        classification_average_precision(np.zeros((2, 3)), np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match='1 images have NaN'):
        classification_average_precision(np.array([[np.nan], [0]]), np.zeros((2, 1), bool))
