"""State dicts of other projects: mmiam/engine/conversion.py."""
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmiam.engine.conversion import classifier_to_iamnet, linear_to_convolution, prm_to_iamnet, resnet_to_mmdet


@pytest.fixture
def resnet():
    """``resnet(kind)`` -> a narrow ResNet-18 of mmdet with random weights and statistics."""
    init_default_scope('mmdet')

    def make(kind='ResNet'):
        torch.manual_seed(0)
        width = dict(stem_channels=8) if kind != 'ResNet' else {}
        net = MODELS.build(dict(type=kind, depth=18, base_channels=8, **width))
        net.eval()  # of mmdet's ResNet gives None
        for name, buffer in net.named_buffers():
            if 'running' in name:
                buffer.uniform_(.5, 1.5)
        return net

    return make


def same(loaded, expected):
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_torchvision_keys_are_mmdets(resnet, prefix):
    net = resnet()
    state = {**net.state_dict(), 'fc.weight': torch.ones(3, 64), 'fc.bias': torch.ones(3)}
    same(resnet_to_mmdet({prefix + key: value for key, value in state.items()}), net.state_dict())


def test_timm_deep_stem(resnet):
    """timm's resnet18d: conv1.{0,1,3,4,6}, then bn1; the rest as mmdet's ResNetV1d has it."""
    net = resnet('ResNetV1d')
    state = {}
    for key, value in net.state_dict().items():
        key = key.replace('stem.7.', 'bn1.')
        state['conv1.' + key.removeprefix('stem.') if key.startswith('stem.') else key] = value
    assert {'conv1.0.weight', 'conv1.6.weight', 'bn1.running_mean'} <= state.keys()
    same(resnet_to_mmdet({**state, 'fc.weight': torch.ones(3, 64)}), net.state_dict())


@pytest.mark.parametrize('extra, message', [
    ({'features.0.weight': torch.ones(1)}, 'features.0.weight'), ({'layer1.0.se.fc1.weight': torch.ones(1)}, 'se.fc1')])
def test_other_networks_are_refused(resnet, extra, message):
    with pytest.raises(ValueError, match=f'{message}.* is no key of a ResNet'):
        resnet_to_mmdet({**resnet().state_dict(), **extra})


def test_half_a_network_is_refused(resnet):
    state = {key: value for key, value in resnet().state_dict().items() if not key.startswith('layer4')}
    with pytest.raises(ValueError, match='layer4 is missing'):
        resnet_to_mmdet(state)


def test_mean_of_the_response_map_is_the_class_score(resnet):
    """fc(mean over pixels) = mean over pixels of the 1 x 1 convolution."""
    net, linear = resnet(), nn.Linear(64, 5)
    state = {**net.state_dict(), **{f'fc.{key}': value for key, value in linear.state_dict().items()}}
    cfg = dict(type='PeakStimulationHead', num_classes=5, in_channels=64, sub_pixel=1)
    whole = nn.ModuleDict(dict(backbone=resnet(), peak_head=MODELS.build(cfg)))
    for parameter in whole.parameters():
        parameter.data.zero_()
    whole.load_state_dict(classifier_to_iamnet(state))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = linear(net(image)[-1].mean((2, 3)))
        response = whole['peak_head'](whole['backbone'](image))
    torch.testing.assert_close(response.mean((2, 3)), expected)


def test_linear_layer_by_hand():
    state = {'classifier.1.weight': torch.arange(6.).reshape(2, 3)}
    found = linear_to_convolution(state, 'classifier.1')
    assert found['peak_head.classifier.weight'].tolist() == [[[[0.]], [[1.]], [[2.]]], [[[3.]], [[4.]], [[5.]]]]
    assert found['peak_head.classifier.bias'].tolist() == [0, 0]
    for wrong in ({}, {'fc.weight': torch.ones(3)}, {'fc.weight': torch.ones(2, 3, 3, 3)}):
        with pytest.raises(ValueError, match='fc.weight is missing or no matrix'):
            linear_to_convolution(wrong)


class Reference(nn.Module):
    """The layout of the PRM reference, from the modules of a ResNet of mmdet; ``blocks``: its later variant."""

    def __init__(self, net, head, blocks=False):
        super().__init__()
        stem = [net.conv1, net.bn1, nn.ReLU(), net.maxpool]
        stages = [net.layer1, net.layer2, net.layer3, net.layer4]
        if blocks:
            self.res_block1 = nn.Sequential(*stem)
            for i, stage in enumerate(stages, 2):
                setattr(self, f'res_block{i}', stage)
        else:
            self.features = nn.Sequential(*stem, *stages)
        self.classifier = nn.Sequential(head)


@pytest.mark.parametrize('blocks', [False, True])
@pytest.mark.parametrize('wrapped', [False, True])
def test_prm_reference(resnet, blocks, wrapped):
    net, head = resnet(), nn.Conv2d(64, 4, 1)
    reference = Reference(net, head, blocks)
    state = (nn.Sequential(reference) if wrapped else reference).state_dict()
    expected = {**{f'backbone.{key}': value for key, value in net.state_dict().items()},
                **{f'peak_head.classifier.{key}': value for key, value in head.state_dict().items()}}
    same(prm_to_iamnet(state), expected)


def test_what_is_no_prm_reference(resnet):
    with pytest.raises(ValueError, match='not the layout of the PRM reference; its first keys are'):
        prm_to_iamnet(resnet().state_dict())
