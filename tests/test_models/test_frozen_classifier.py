import logging

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.runner.checkpoint import load_state_dict

RESNET = dict(type='ResNet', depth=18, base_channels=4, out_indices=(3, ))
MOBILENET = dict(type='MobileNetV2', widen_factor=0.1, out_indices=(7, ))


def build(backbone=RESNET, in_channels=32, classes=5, **kwargs):
    head = dict(type='SoftmaxHead', num_classes=classes, in_channels=in_channels)
    return MODELS.build(dict(type='FrozenClassifier', backbone=backbone, head=head, **kwargs))


def published(backbone=RESNET, in_channels=32, classes=5, layout='bare'):
    """Random weights in a published layout: torchvision's, mmpretrain's, or a checkpoint of IAMNet."""
    torch.manual_seed(1)
    one = build(backbone, in_channels, classes)
    state = one.backbone.state_dict()
    weight, bias = torch.randn(classes, in_channels), torch.randn(classes)
    if layout == 'bare':
        return state | {'fc.weight': weight, 'fc.bias': bias}
    state = {f'backbone.{key}': value for key, value in state.items()}
    if layout == 'mmpretrain':
        return dict(state_dict=state | {'head.fc.weight': weight, 'head.fc.bias': bias}, meta={})
    state |= {'peak_head.classifier.weight': weight[:, :, None, None], 'peak_head.classifier.bias': bias}
    return dict(state_dict={f'module.{key}': value for key, value in state.items()})


def image(size=(64, 64), seed=0):
    return 255 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('backbone, in_channels', [(RESNET, 32), (MOBILENET, 1280)], ids=['resnet', 'mobilenet'])
@pytest.mark.parametrize('layout', ['bare', 'mmpretrain', 'iam'])
def test_published_layouts(layout, backbone, in_channels, tmp_path):
    """The scores are those of the backbone, the pooling and the linear layer of the file, up to the enlargement."""
    content = published(backbone, in_channels, layout=layout)
    torch.save(content, tmp_path / 'weights.pth')
    one = build(backbone, in_channels, checkpoint=str(tmp_path / 'weights.pth'), mean=(127.5, ) * 3,
                std=(127.5, ) * 3)
    one.head.sub_pixel = 1
    one.init_weights()  # before training
    assert one.head.classifier.weight.any()
    scores = one.classify(image())
    state = published(backbone, in_channels)
    other = MODELS.build(backbone)
    other.eval()
    other.load_state_dict({key: value for key, value in state.items() if not key.startswith('fc.')})
    with torch.no_grad():
        pooled = other(image() / 127.5 - 1)[-1].mean((2, 3))
    torch.testing.assert_close(scores, pooled @ state['fc.weight'].T + state['fc.bias'], rtol=1e-4, atol=1e-4)


def test_frozen_and_in_eval_mode():
    one = build().train()
    assert not one.training and not one.backbone.training
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_normalization_and_padding():
    one = build(mean=(1., 2., 3.), std=(2., 4., 5.))
    images = torch.full((2, 3, 4, 6), 13.)
    samples = [DetDataSample(metainfo=dict(img_shape=size)) for size in ((4, 6), (3, 2))]
    inputs = one.normalize(images, samples)
    assert inputs[0, :, 0, 0].tolist() == [6, 2.75, 2] and (inputs[0] == inputs[0, :, :1, :1]).all()
    assert (inputs[1, :, :3, :2] == inputs[0, :, :3, :2]).all()
    assert not inputs[1, :, 3:].any() and not inputs[1, :, :, 2:].any()


def damaged(change):
    def make():
        content = published()
        change(content)
        return content
    return make


@pytest.mark.parametrize('content, message', [
    (lambda: {'conv1.weight': torch.zeros(1)}, 'holds no classifier.*--layout classifier'),
    (lambda: [1, 2], 'holds a list'),
    (damaged(lambda state: state.pop('layer2.0.conv1.weight')),
     'lacks 1 of .* ResNet: layer2.0.conv1.weight'),
    (damaged(lambda state: state.update({'layer2.5.conv1.weight': torch.zeros(1)})), 'no place for: layer2.5.conv1'),
    (damaged(lambda state: state.update({'conv1.weight': torch.zeros(9, 3, 7, 7)})),
     'the first is conv1.weight, .9, 3, 7, 7. in place of'),
    (lambda: published(classes=7), 'fc.weight has 7 classes and 32 channels, .*set num_classes=7')])
def test_a_bad_file_is_named(content, message, tmp_path):
    torch.save(content(), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='w.pth') as error:
        build(checkpoint=str(tmp_path / 'w.pth')).load()
    assert error.match(message)


class Around(torch.nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part
        self.other = torch.nn.Linear(1, 1)


def test_a_checkpoint_of_the_model_around_it(tmp_path, caplog):
    """With the classifier's weights: they count. Without: its own file has them, and none is reported as missing."""
    torch.save(published(), tmp_path / 'w.pth')
    first = Around(build(checkpoint=str(tmp_path / 'w.pth')))
    assert first.load_state_dict({'other.bias': torch.zeros(1)}, strict=False).missing_keys == ['other.weight']
    load_state_dict(first, {'other.bias': torch.zeros(1)}, strict=False, logger=logging.getLogger('test'))
    assert 'other.weight' in caplog.text and 'part.' not in caplog.text
    first.part.load()
    second = Around(build(checkpoint=str(tmp_path / 'gone.pth')))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.part.classify(image()), second.part.classify(image()))


def test_a_normalization_that_is_not_the_weights(tmp_path):
    meta = dict(mean=[127.5] * 3, std=[127.5] * 3)
    torch.save(dict(state_dict=published(), meta=meta), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'w.pth was trained on images of mean \[127.5, .* given with \[123.67'):
        build(checkpoint=str(tmp_path / 'w.pth')).load()
    build(checkpoint=str(tmp_path / 'w.pth'), **meta).load()
