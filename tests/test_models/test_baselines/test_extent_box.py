import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmiam.models.baselines import ExtentBox

IMAGE = torch.zeros(3, 8, 10)


def cue(*maps, peaks=None, logits=True):
    maps = torch.stack([torch.as_tensor(one, dtype=torch.float32) for one in maps]) if maps else torch.zeros(0, 8, 10)
    count = len(maps)
    scores = torch.tensor(peaks if peaks is not None else [1.] * count)
    return InstanceData(labels=torch.arange(count) + 4, class_scores=torch.zeros(count), peak_scores=scores,
                        prms=maps, cams=maps - 1, iams=maps.clamp(1e-4, 1 - 1e-4).logit() if logits else maps)


def two_blobs():
    """0.9 on 2 x 3 pixels, 0.7 on 3 x 4 pixels, 0.1 elsewhere; the mean is 0.265."""
    blobs = torch.full((8, 10), .1)
    blobs[1:3, 1:4] = .9
    blobs[4:7, 5:9] = .7
    return blobs


def run(cues, **kwargs):
    return ExtentBox(**kwargs)(cues, IMAGE, DetDataSample())


def test_extent_of_all_that_reaches_the_mean():
    result = run(cue(two_blobs()))
    assert result.bboxes.tolist() == [[1, 1, 9, 7]] and result.labels.tolist() == [4]
    assert result.masks[0].sum() == 18 and result.scores.tolist() == [.5]
    torch.testing.assert_close(result.score_maps[0], two_blobs())
    assert run(cue(two_blobs()), region='largest').bboxes.tolist() == [[5, 4, 9, 7]]


def test_relu_of_the_logits():
    """Logits 2 on one pixel, 0.1 on another, -1 elsewhere: the mean of the ReLU is 2.1 / 80."""
    logits = torch.full((8, 10), -1.)
    logits[2, 3], logits[5, 6], logits[7, 0] = 2., .1, .02
    cues = cue(two_blobs())
    cues.iams = logits[None]
    assert run(cues, activation='relu').bboxes.tolist() == [[3, 2, 7, 6]]
    assert run(cues).bboxes.tolist() == [[0, 2, 7, 8]]  # 0.27 elsewhere: all three lie above the mean of the sigmoid


def test_map_key_and_the_highest_peak():
    left, right = torch.zeros(2, 8, 10)
    left[:, :3], right[:, 6:] = 1, 1
    cues = cue(left, right, peaks=[1., 2.])
    for map_key in ('iams', 'prms', 'cams'):
        result = run(cues, map_key=map_key)
        assert result.bboxes.tolist() == [[6, 0, 10, 8]] and result.labels.tolist() == [5]
    assert 'score_maps' not in cues and len(cues) == 2


def test_largest_component_has_corners_and_a_constant_map_is_the_image():
    diagonal = torch.eye(8, 10)
    diagonal[0, 9] = 1
    assert run(cue(diagonal), region='largest').bboxes.tolist() == [[0, 0, 8, 8]]
    assert run(cue(torch.ones(8, 10)), map_key='prms').bboxes.tolist() == [[0, 0, 10, 8]]


def test_nothing_found():
    result = run(cue())
    assert len(result) == 0 and result.score_maps.shape == (0, 8, 10) and result.masks.shape == (0, 8, 10)
    assert len(run(cue(), region='largest')) == 0


def test_the_class_of_a_classifier(monkeypatch):
    class Classifier(nn.Module):
        def classify(self, images):
            assert images.shape == (1, 3, 8, 10)
            return torch.tensor([[0., 3., 1.]])

    monkeypatch.setattr(MODELS, 'build', lambda config: Classifier())
    assert run(cue(two_blobs()), classifier=dict(type='x')).labels.tolist() == [1]


def test_cues_without_the_map():
    cues = cue(two_blobs())
    del cues.iams
    with pytest.raises(ValueError, match=r'map_key=.iams.\): the cues have cams, .*; the model needs a filler'):
        run(cues)


def test_bad_options():
    for options in (dict(region='some'), dict(activation='tanh')):
        with pytest.raises(ValueError, match='must be'):
            ExtentBox(**options)
