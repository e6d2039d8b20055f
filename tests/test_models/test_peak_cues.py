"""The cues at the peaks of a network's own classifier."""
import math

import pytest
import torch
from mmdet.registry import MODELS
from nets import image, run_predict, sample

from mmiam.models.cues import ClassMapCue, PeakGaussianCue, PeakResponseCue

SIZE = (64, 96)


class Network(torch.nn.Module):
    """Classes are channels of an image, averaged over cells of 8 x 8 pixels whose first is centered on ``offset``."""

    def __init__(self, offset=(0, 0)):
        super().__init__()
        self.offset = offset
        self.pool = torch.nn.AvgPool2d(8)
        self.peak_head = MODELS.build(dict(
            type='PeakStimulationHead', num_classes=3, in_channels=3, sub_pixel=1, class_thr=-1e9, peak_thr=.5))
        self.peak_head.classifier.weight.data = torch.eye(3)[:, :, None, None]
        self.peak_head.classifier.bias.data.zero_()
        self.requires_grad_(False).eval()

    def extract_feat(self, images):
        return (self.pool(images), )

    def cell_offset(self, size):
        return self.offset


def dots(*places):
    """Images with bright blocks at cells (class, row, column) of 8 x 8 pixels."""
    images = torch.zeros(1, 3, *SIZE)
    for index, (label, row, column) in enumerate(places):
        images[0, label, 8 * row:8 * row + 8, 8 * column:8 * column + 8] = 4 - index
    return images


@pytest.fixture
def refused(monkeypatch):
    """Any recording of a forward pass for back-propagation fails."""

    def refuse(*args, **kwargs):
        raise AssertionError('back-propagation')

    monkeypatch.setattr('mmiam.models.cues.peak_cues.Trace', refuse)


PLACES = ((1, 2, 3), (1, 5, 9), (2, 4, 0))


@pytest.mark.parametrize('offset', [(0, 0), (7, 5)])
def test_a_gaussian_at_the_pixel_of_each_peak(refused, offset):
    """Cells are centered on offset + 8 i; the map has its maximum, one, there, and falls by the width along an axis."""
    feats, scores, (cue, ) = PeakGaussianCue(sigma=.1).eval()(Network(offset), dots(*PLACES))
    assert feats[0].shape == (1, 3, 8, 12) and scores.shape == (1, 3) and 'prms' not in cue
    assert cue.labels.tolist() == [1, 1, 2] and cue.peaks.tolist() == [[2, 3], [5, 9], [4, 0]]
    assert cue.cams.shape == cue.maps.shape == (3, *SIZE)
    width = .1 * math.sqrt(64 * 96)
    for one, (_, row, column), place in zip(cue.maps, PLACES, cue.places.tolist()):
        y, x = 8 * row + offset[0], 8 * column + offset[1]
        assert place == [y, x] and (one == one.max()).nonzero().tolist() == [[y, x]] and one[y, x] == 1
        assert one[y + 6, x].item() == pytest.approx(math.exp(-.5 * (6 / width)**2), rel=1e-5)
        assert one[y, x + 6].item() == pytest.approx(math.exp(-.5 * (6 / width)**2), rel=1e-5)


def test_peaks_are_those_of_the_peak_response_maps(build):
    network = build()
    expected, found = (cue.eval()(network, image()) for cue in (PeakResponseCue(), PeakGaussianCue()))
    assert len(expected.cues[0]) == len(found.cues[0]) > 1
    for name in ('labels', 'peaks', 'places', 'peak_scores', 'class_scores', 'cams'):
        torch.testing.assert_close(expected.cues[0].get(name), found.cues[0].get(name))
    torch.testing.assert_close(expected.scores, found.scores)


@pytest.mark.parametrize('make', [lambda: PeakGaussianCue().train(), lambda: PeakGaussianCue(prms=True).eval()],
                         ids=['training', 'asked for'])
def test_peak_response_maps_ride_along(build, make):
    network = build()
    expected, = PeakResponseCue()(network, image()).cues
    draw_gaussians, = PeakGaussianCue().eval()(network, image()).cues
    found, = make()(network, image()).cues
    assert found.prms.equal(expected.prms) and not found.maps.equal(found.prms)
    torch.testing.assert_close(found.prms.sum((1, 2)), torch.ones(len(found)))
    assert found.maps.equal(draw_gaussians.maps)


def test_a_network_predicts_without_back_propagation(build, refused):
    for cue in ('PeakGaussianCue', 'ClassMapCue'):
        model = build(cue=dict(type=cue), test_cfg=dict(return_maps=True))
        result, = run_predict(model, image(), sample())
        assert 'maps' in result.pred_instances and 'prms' not in result.pred_instances
    with pytest.raises(AssertionError, match='back-propagation'):
        run_predict(build(), image(), sample())


def test_no_peak_and_bad_width():
    for cue in (PeakGaussianCue().eval(), PeakGaussianCue().train(), ClassMapCue(), PeakResponseCue()):
        _, _, (found, ) = cue(Network(), torch.zeros(1, 3, *SIZE), None, [[]])
        assert len(found) == 0 and found.maps.shape == (0, *SIZE) and found.cams.shape == (0, *SIZE)
    with pytest.raises(ValueError, match='sigma must be positive, got 0'):
        PeakGaussianCue(sigma=0)


def test_image_labels_choose_the_classes():
    for cue in (PeakGaussianCue().eval(), PeakResponseCue(), ClassMapCue()):
        assert set(cue(Network(), dots(*PLACES), None, [[2]]).cues[0].labels.tolist()) == {2}


def test_class_maps_are_one_a_class(refused):
    """The higher of the two peaks of class 1 stands for it; its map is the response over the image."""
    network = Network()
    _, _, (cue, ) = ClassMapCue()(network, dots(*PLACES) - .25)
    assert cue.labels.tolist() == [1, 2] and cue.peaks.tolist() == [[2, 3], [4, 0]]
    assert cue.maps.equal(cue.cams.clamp(min=0)) and cue.maps.min() == 0
    for one, row, column, height in ((cue.maps[0], 2, 3, 3.75), (cue.maps[0], 5, 9, 2.75), (cue.maps[1], 4, 0, 1.75)):
        assert one[8 * row, 8 * column].item() == pytest.approx(height)
    assert cue.cams.min().item() == pytest.approx(-.25)
