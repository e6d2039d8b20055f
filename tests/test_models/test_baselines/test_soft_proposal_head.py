import torch
from mmdet.registry import MODELS

from mmiam.models.baselines import SoftProposalHead
from mmiam.models.baselines.soft_proposal import soft_proposal
from mmiam.models.heads import PeakStimulationHead

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
