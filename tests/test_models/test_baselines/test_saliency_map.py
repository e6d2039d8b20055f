import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.models.baselines.saliency_map import SaliencyMap, merge_saliency


def cues_of(**maps):
    n = len(next(iter(maps.values())))
    return InstanceData(labels=torch.zeros(n, dtype=torch.long), class_scores=torch.zeros(n),
                        peak_scores=torch.zeros(n), **maps)


def test_by_hand():
    """ReLU, maximum over the two, then 1 -> 0 and 5 -> 1: every pixel is 1 at least."""
    logits = torch.tensor([[[-2., 1., 5.]], [[2., -9., 3.]]])
    sample = DetDataSample()
    found = SaliencyMap()(cues_of(iams=logits), torch.zeros(3, 1, 3), sample)
    assert sample.pred_saliency.tolist() == [[pytest.approx(.25), 0., 1.]]
    assert len(found) == 0 and found.masks.shape == (0, 1, 3) and found.bboxes.shape == (0, 4)


def test_slow_reference():
    maps = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    for normalize in (False, True):
        highest = [[max(max(float(one[y, x]), 0) / (max(float(one.max()), 0) if normalize else 1) for one in maps)
                    for x in range(6)] for y in range(5)]
        low, high = min(map(min, highest)), max(map(max, highest))
        expected = [[(value - low) / (high - low) for value in row] for row in highest]
        torch.testing.assert_close(merge_saliency(maps, normalize), torch.tensor(expected))


def test_maps_that_sum_to_one_are_normalized():
    """A compact and a wide response: both reach 1 as Peak Response Maps, the wide one stays low as logits."""
    prms = torch.zeros(2, 2, 4)
    prms[0, 0, 0], prms[1, 1] = 1., .25
    for maps, expected in (('prms', 1.), ('cams', .25)):
        sample = DetDataSample()
        SaliencyMap(map_key=maps, field='mine')(cues_of(**{maps: prms}), torch.zeros(3, 2, 4), sample)
        assert sample.mine[0, 0] == 1 and sample.mine[1, 2] == expected and sample.mine[0, 1] == 0


def test_sigmoid_in_place_of_relu():
    sample, logits = DetDataSample(), torch.tensor([[[-2., 1., 5.]], [[2., -9., 3.]]])
    SaliencyMap(activation='sigmoid')(cues_of(iams=logits), torch.zeros(3, 1, 3), sample)
    low, middle, high = (1 / (1 + math.exp(-value)) for value in (1, 2, 5))
    assert sample.pred_saliency.tolist() == [[pytest.approx((middle - low) / (high - low)), 0., 1.]]


def test_doubtful_instances_by_score():
    """Two maps of height 4 side by side, of classes with probability 0.8 and 0.2; logits 2 ln 4 at temperature 2."""
    logits = torch.tensor([[[4., 0., 0.]], [[0., 4., 0.]]])
    cues, sample = cues_of(iams=logits), DetDataSample()
    cues.peak_scores = torch.tensor([2., -2.]) * math.log(4.)
    SaliencyMap(by_score=True, class_evidence='peak', temperature=2.)(cues, torch.zeros(3, 1, 3), sample)
    assert sample.pred_saliency.tolist() == [[1., pytest.approx(.25), 0.]]
    SaliencyMap()(cues, torch.zeros(3, 1, 3), sample)
    assert sample.pred_saliency.tolist() == [[1., 1., 0.]]


def test_original_size():
    """Logits are enlarged before the ReLU: half way between -1 and 1 is 0."""
    sample = DetDataSample()
    SaliencyMap()(cues_of(iams=torch.tensor([[[-1., 1.]]])), torch.zeros(3, 3, 8), sample)
    assert sample.pred_saliency.shape == (3, 8)
    assert sample.pred_saliency[1].tolist() == pytest.approx([0, 0, 0, 0, .25, .75, 1, 1], abs=1e-6)


@pytest.mark.parametrize('maps', [torch.zeros(0, 4, 6), -torch.ones(2, 4, 6), torch.ones(1, 4, 6)])
def test_nothing_found_is_a_map_of_zeros(maps):
    sample = DetDataSample()
    SaliencyMap()(cues_of(iams=maps), torch.zeros(3, 8, 9), sample)
    assert sample.pred_saliency.shape == (8, 9) and not sample.pred_saliency.any()


def test_which_maps():
    assert SaliencyMap().needs_iam and not SaliencyMap(map_key='prms').needs_iam
    for bad in (dict(activation='tanh'), dict(activation='sigmoid', map_key='prms')):
        with pytest.raises(ValueError, match='activation must be one of'):
            SaliencyMap(**bad)
    with pytest.raises(ValueError, match=r"a\.jpg: its cues have no 'cams'"):
        SaliencyMap(map_key='cams')(cues_of(prms=torch.zeros(1, 2, 2)), torch.zeros(3, 2, 2),
                                 DetDataSample(metainfo=dict(img_path='a.jpg')))
