import math

import numpy as np
import pytest

from mmiam.evaluation.functional.best_overlap import best_overlap
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
