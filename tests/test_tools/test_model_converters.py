"""tools/model_converters: state dicts of other projects, and checkpoints to hand on."""
import hashlib
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from support import Payload, load_tool
from torch import nn

from mmiam.engine import read_checkpoint, safe_loader
from mmiam.utils.checkpoints import save_checkpoint


def tool(name):
    return load_tool(f'tools/model_converters/{name}.py')


CONVERTER = tool('classifier2mmiam')
publish = tool('publish_model').publish


@pytest.fixture
def resnet():
    """``resnet(kind)`` -> a narrow ResNet-18 of mmdet with random weights and statistics."""

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


def test_timm_deep_stem(resnet):
    """timm's resnet18d: conv1.{0,1,3,4,6}, then bn1; the rest as mmdet's ResNetV1d has it."""
    net = resnet('ResNetV1d')
    state = {}
    for key, value in net.state_dict().items():
        key = key.replace('stem.7.', 'bn1.')
        state['conv1.' + key.removeprefix('stem.') if key.startswith('stem.') else key] = value
    assert {'conv1.0.weight', 'conv1.6.weight', 'bn1.running_mean'} <= state.keys()
    same(CONVERTER.to_mmdet(state), net.state_dict())


@pytest.mark.parametrize('extra, message', [
    ({'features.0.weight': torch.ones(1)}, 'features.0.weight'), ({'layer1.0.se.fc1.weight': torch.ones(1)}, 'se.fc1')])
def test_other_networks_are_refused(resnet, extra, message):
    with pytest.raises(ValueError, match=f'{message}.* is no key of a ResNet'):
        CONVERTER.to_mmdet({**resnet().state_dict(), **extra})


def test_mean_of_the_response_map_is_the_class_score(resnet):
    """fc(mean over pixels) = mean over pixels of the 1 x 1 convolution."""
    net, linear = resnet(), nn.Linear(64, 5)
    state = {**net.state_dict(), **{f'fc.{key}': value for key, value in linear.state_dict().items()}}
    cfg = dict(type='PeakStimulationHead', num_classes=5, in_channels=64, sub_pixel=1)
    whole = nn.ModuleDict(dict(backbone=resnet(), peak_head=MODELS.build(cfg)))
    for parameter in whole.parameters():
        parameter.data.zero_()
    whole.load_state_dict(CONVERTER.classifier_to_iamnet(state))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = linear(net(image)[-1].mean((2, 3)))
        response = whole['peak_head'](whole['backbone'](image))
    torch.testing.assert_close(response.mean((2, 3)), expected)


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
    same(CONVERTER.prm_to_iamnet(state), expected)


def test_what_is_no_prm_reference(resnet):
    with pytest.raises(ValueError, match='not the layout of the PRM reference; its first keys are'):
        CONVERTER.prm_to_iamnet(resnet().state_dict())


def torchvision_mobilenet(net):
    """The tensors of mmdet's MobileNetV2 under torchvision's names, written from torchvision's module tree."""
    plan = [(1, 1, 1), (2, 2, 6), (4, 3, 6), (7, 4, 6), (11, 3, 6), (14, 3, 6), (17, 1, 6)]
    names = {'conv1.conv': 'features.0.0', 'conv1.bn': 'features.0.1', 'conv2.conv': 'features.18.0',
             'conv2.bn': 'features.18.1'}
    for layer, (first, blocks, expansion) in enumerate(plan, 1):
        for block in range(blocks):
            ours, theirs = f'layer{layer}.{block}', f'features.{first + block}.conv'
            parts = ['depthwise_conv'] if expansion == 1 else ['expand_conv', 'depthwise_conv']
            for index, part in enumerate(parts):
                names |= {f'{ours}.{part}.conv': f'{theirs}.{index}.0', f'{ours}.{part}.bn': f'{theirs}.{index}.1'}
            names |= {f'{ours}.linear_conv.conv': f'{theirs}.{len(parts)}',
                      f'{ours}.linear_conv.bn': f'{theirs}.{len(parts) + 1}'}
    return {f'{names[key.rsplit(".", 1)[0]]}.{key.rsplit(".", 1)[1]}': value for key, value in net.state_dict().items()}


@pytest.mark.parametrize('layout', ['torchvision', 'mmpretrain'])
def test_mobilenet(layout, tmp_path, capsys):
    """Converted, and read by ``init_cfg`` as it is; the normalization of its images is said."""
    cfg = dict(type='MobileNetV2', widen_factor=0.1)
    net = MODELS.build(cfg)
    linear = {'weight': torch.rand(10, 1280), 'bias': torch.rand(10)}
    if layout == 'torchvision':
        state = torchvision_mobilenet(net) | {f'classifier.1.{key}': value for key, value in linear.items()}
    else:
        state = {f'backbone.{key}': value for key, value in net.state_dict().items()}
        state |= {f'head.fc.{key}': value for key, value in linear.items()}
    torch.save(state, tmp_path / 'in.pth')
    assert CONVERTER.main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]) == 0
    assert 'mean=[123.675, 116.28, 103.53]' in capsys.readouterr().out
    content = read_checkpoint(str(tmp_path / 'out.pth'))
    same(content['state_dict'], net.state_dict() | {f'fc.{key}': value for key, value in linear.items()})
    assert ('mean' in content['meta']) == (layout == 'torchvision')
    for path in ('in.pth', 'out.pth'):
        other = MODELS.build(dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / path))))
        with safe_loader():
            other.init_weights()
        same(other.state_dict(), net.state_dict())


@pytest.fixture
def run(tmp_path):
    """A checkpoint as a training leaves it."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    meta = dict(epoch=12, iter=90, seed=0, cfg="work_dir = '/home/someone'", hostname='mine', dataset_meta=dict(
        classes=('cat', 'dog')))
    torch.save(dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(), message_hub={}, meta=meta,
                    param_schedulers=[{}]), tmp_path / 'epoch_12.pth')
    return str(tmp_path / 'epoch_12.pth')


def test_stripped_and_named_by_its_hash(run, tmp_path):
    path, digest = publish(run, str(tmp_path / 'out' / 'model.pth'), notes=dict(config='a.py'))
    assert Path(path).name == f'model-{digest[:8]}.pth'
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    content, source = read_checkpoint(path), read_checkpoint(run)
    assert content.keys() == {'state_dict', 'meta'}
    assert all(torch.equal(content['state_dict'][key], value) for key, value in source['state_dict'].items())
    assert content['meta'].pop('mmiam_version')
    assert content['meta'] == dict(epoch=12, iter=90, seed=0, dataset_meta=dict(classes=('cat', 'dog')), config='a.py')
    assert b'someone' not in Path(path).read_bytes() and b'hostname' not in Path(path).read_bytes()
    again, same = publish(path, str(tmp_path / 'out' / Path(path).name), notes=dict(config='a.py'))
    assert (again, same) == (path, digest)  # a published file published anew is the same


def test_parts_alone(run, tmp_path):
    state = read_checkpoint(publish(run, str(tmp_path / 'm.pth'), parts=('1', ))[0])['state_dict']
    assert state and all(name.startswith('1.') for name in state)


def test_half(run, tmp_path):
    state = read_checkpoint(publish(run, str(tmp_path / 'm.pth'), half=True)[0])['state_dict']
    assert state['0.weight'].dtype == torch.float16 and state['1.running_var'].dtype == torch.float32
    assert state['1.num_batches_tracked'].dtype == torch.int64


def test_weights_that_are_not_finite_or_too_large(tmp_path):
    save_checkpoint(dict(w=torch.tensor([1., float('nan')])), tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match='nan.pth: 1 of 1 weights are infinite or no numbers, the first is w'):
        publish(str(tmp_path / 'nan.pth'), str(tmp_path / 'out.pth'))
    save_checkpoint(dict(w=torch.tensor([1e9])), tmp_path / 'big.pth')
    with pytest.raises(ValueError, match='big.pth: w leaves the range'):
        publish(str(tmp_path / 'big.pth'), str(tmp_path / 'out.pth'), half=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['big.pth', 'nan.pth']


def test_publish_tool(tmp_path, capsys):
    torch.save(dict(state_dict=dict(w=torch.ones(1)), optimizer={}), tmp_path / 'in.pth')
    publisher = tool('publish_model')
    assert publisher.main([str(tmp_path / 'in.pth'), str(tmp_path / 'm.pth'), '--note', 'config=a.py']) == 0
    path = Path(capsys.readouterr().out.splitlines()[0])
    assert path.name.startswith('m-') and read_checkpoint(str(path))['meta']['config'] == 'a.py'
    assert publisher.main([str(tmp_path / 'in.pth'), str(tmp_path / 'm.tar')]) == 2


@pytest.mark.parametrize('name', ['publish_model', 'classifier2mmiam'])
def test_hostile_or_foreign_files(name, tmp_path, capsys):
    torch.save(dict(state_dict=Payload(tmp_path / 'payload_ran')), tmp_path / 'in.pth')
    assert tool(name).main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]) == 2
    assert 'nothing in it was run' in capsys.readouterr().err
    assert tool(name).main([str(tmp_path / 'none.pth'), str(tmp_path / 'out.pth')]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth']
