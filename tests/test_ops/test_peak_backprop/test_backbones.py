"""Peak back-propagation through mmdet's backbones, at small sizes."""

import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import MobileNetV2, ResNet, SwinTransformer
from test_trace import slow_maps
from torch import nn

from mmiam.models.backbones import EfficientNetLite
from mmiam.ops.peak_backprop import Trace


class ClassResponse(nn.Module):
    def __init__(self, backbone, channels):
        super().__init__()
        self.backbone, self.head = backbone, nn.Conv2d(channels, 6, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, .2)
                module.running_var.uniform_(.5, 1.5)
                module.weight.data.normal_()
                module.bias.data.normal_(0, .2)
        self.eval()

    def forward(self, images):
        return F.interpolate(self.head(self.backbone(images)[-1]), scale_factor=8, mode='bilinear',
                             align_corners=True)


CASES = {
    'resnet50_caffe_frozen': lambda: (ResNet(50, style='caffe', frozen_stages=2, out_indices=(0, 1, 2)), 1024),
    'resnet50_dilated': lambda: (ResNet(50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), deep_stem=True,
                                        avg_down=True), 2048),
    'mobilenet_v2': lambda: (MobileNetV2(), 1280),
    'efficientnet_lite0': lambda: (EfficientNetLite('lite0', init_cfg=dict()), 1280),
}


@pytest.mark.parametrize('name', CASES)
def test_convolutional_backbones(name):
    torch.manual_seed(0)
    backbone, channels = CASES[name]()
    network = ClassResponse(backbone, channels)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('error')
        plain, recorded = network(images), Trace(network, images)
    assert torch.equal(recorded.output, plain)
    peaks = torch.tensor([[1, 0, 3, 4], [0, 5, 15, 23], [0, 2, 0, 0], [1, 3, 9, 11]])
    maps, expected = recorded.backpropagate(recorded.output, peaks), slow_maps(network, images, peaks)
    assert maps.shape == (4, 64, 96) and (maps >= 0).all()
    assert torch.allclose(maps.sum((1, 2)), torch.ones(4), atol=1e-5)
    error = (maps - expected).abs().amax((1, 2)) / expected.amax((1, 2))
    assert error.max() < 1e-5
    assert all(parameter.grad is None for parameter in network.parameters())


def test_attention_of_swin_is_differentiated_ordinarily_and_said(monkeypatch):
    torch.manual_seed(0)
    network = ClassResponse(SwinTransformer(embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
                                            window_size=4), 96)
    images = torch.randn(2, 3, 64, 64)
    with pytest.warns(UserWarning, match='NativeLayerNorm.*Softmax'):
        recorded = Trace(network, images)
    peaks = torch.tensor([[0, 1, 3, 4], [1, 1, 9, 2], [0, 0, 0, 0]])
    maps = recorded.backpropagate(recorded.output, peaks)
    assert torch.allclose(maps.sum((1, 2)), torch.ones(3), atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        alone = Trace(network, images[1:])
        monkeypatch.setattr(sys.modules[Trace.__module__], 'CHUNK_BYTES', {'cpu': 1})
        one_by_one = Trace(network, images)
    # The shift by the minimum is the sample's own, also where Swin works on windows.
    assert torch.allclose(alone.backpropagate(alone.output, torch.tensor([[0, 1, 9, 2]]))[0], maps[1], rtol=1e-3,
                          atol=1e-6)
    assert torch.allclose(one_by_one.backpropagate(one_by_one.output, peaks), maps, rtol=1e-3, atol=1e-6)
