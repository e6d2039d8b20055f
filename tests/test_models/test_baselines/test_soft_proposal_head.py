import torch
from mmdet.registry import MODELS
from torch import nn

from mmiam.models.baselines import SoftProposalHead
from mmiam.models.baselines.soft_proposal import soft_proposal
from mmiam.models.heads import PeakStimulationHead
from mmiam.ops import trace

CONFIG = dict(num_classes=2, in_channels=3, sub_pixel=1)


def test_coupling_multiplies_by_the_map_of_mean_one():
    features = torch.rand(2, 3, 4, 5, generator=torch.manual_seed(0), requires_grad=True)
    coupled = SoftProposalHead(**CONFIG).couple(features)
    proposal = soft_proposal(features)
    torch.testing.assert_close(coupled, features * 20 * proposal[:, None])
    torch.testing.assert_close((20 * proposal).mean((1, 2)), torch.ones(2))
    gradient, = torch.autograd.grad(coupled.sum(), features)  # the map is a constant in the backward pass
    torch.testing.assert_close(gradient, (20 * proposal)[:, None].expand_as(features))


def test_weights_are_those_of_the_plain_head_and_flat_features_stay():
    plain = PeakStimulationHead(**CONFIG)
    head = MODELS.build(dict(type='SoftProposalHead', **CONFIG))
    head.load_state_dict(plain.state_dict())
    flat = (torch.zeros(1, 7, 8, 8), torch.ones(1, 3, 4, 4))
    torch.testing.assert_close(head(flat), plain(flat))
    varied = (torch.rand(1, 3, 4, 4), )
    assert not torch.allclose(head(varied), plain(varied))


def test_settings_reach_the_walk():
    features = torch.rand(1, 3, 4, 4)
    head = SoftProposalHead(**CONFIG, sigma_ratio=0.5, num_iters=None)
    torch.testing.assert_close(head.couple(features), features * 16 * soft_proposal(features, 0.5, None)[:, None])


def test_peaks_propagate_through_the_coupling():
    torch.manual_seed(0)
    layer, head = nn.Conv2d(3, 3, 3, padding=1).double(), SoftProposalHead(**CONFIG).double()
    images = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    peaks = torch.tensor([[0, 0, 2, 3], [0, 1, 4, 1]])

    def maps(peaks):
        recorded = trace(lambda x: head((layer(x).relu(), )), images)
        return recorded.backpropagate(recorded.output, peaks)
    found = maps(peaks)  # at once, as small as they are
    torch.testing.assert_close(found, torch.cat([maps(peak[None]) for peak in peaks]))
    assert (found.sum((1, 2)) - 1).abs().max() < 1e-9


def test_training_loss_reaches_the_classifier():
    head = SoftProposalHead(**CONFIG)
    losses = head.loss((torch.rand(1, 3, 4, 4), ), torch.tensor([[1., 0.]]))
    losses['loss_cls'].backward()
    assert head.classifier.weight.grad.abs().sum() > 0
