import numpy as np
import pytest
from test_proposal_tools import tool

evaluate = tool('evaluate')


def test_figures_by_hand(monkeypatch):
    monkeypatch.setattr(evaluate, 'COUNTS', (1, 2))
    monkeypatch.setattr(evaluate, 'SUFFIXES', ('_at_1', '_at_2', ''))
    best = evaluate.best_so_far(np.array([[.2, .6, .9], [.1, .4, .4], [.8, .1, .1]]))
    assert best.tolist() == [[.2, .6, .9], [.1, .4, .4], [.8, .8, .8]]
    assert evaluate.best_so_far(np.zeros((2, 0))).tolist() == [[0, 0, 0]] * 2
    result = evaluate.summarize([evaluate.ImageFigures(best[:2], [0, 0], 3, .5),
                                 evaluate.ImageFigures(best[2:], [1], 5, None)])
    assert result['mean_best_iou_at_2'] == pytest.approx(.6)
    assert result['mean_best_iou'] == pytest.approx(.7)
    assert (result['recall_50_at_1'], result['recall_70'], result['recall_90']) == pytest.approx((1 / 3, 2 / 3, 1 / 3))
    assert result['abo_per_class'] == pytest.approx(dict(aeroplane=.65, bicycle=.8))
    assert result['abo'] == pytest.approx(.725)
    assert [result[key] for key in ('num_images', 'num_instances', 'mean_proposals', 'seconds_per_image')] == [
        2, 3, 4., .5]


def test_no_instance_gives_nan():
    result = evaluate.summarize([evaluate.ImageFigures(np.zeros((0, 7)), [], 4, None)])
    assert np.isnan(result['mean_best_iou']) and np.isnan(result['abo']) and result['num_instances'] == 0
