"""What peak back-propagation computes: everything of the image once, each peak only where it can be non-zero."""
import pytest
import torch
from torch import nn

from mmiam.ops.peak_backprop import peak_response_maps, trace
from mmiam.ops.peak_backprop.layers import Convolution

#: before torch 2.2 a graph does not tell its shapes, and peaks go one by one
FAST = pytest.mark.skipif(not hasattr(torch.ones(1, requires_grad=True).exp().grad_fn, '_input_metadata'),
                          reason='needs torch 2.2')


def convolutions(count=3, stride=1):
    torch.manual_seed(0)
    layers = []
    for _ in range(count):
        layers += [nn.Conv2d(3, 3, 3, stride, padding=1), nn.ReLU()]
    return nn.Sequential(*layers).eval()


PEAKS = torch.tensor([[0, 0, 3, 4], [0, 1, 12, 9], [0, 2, 20, 23], [0, 1, 0, 0]])


@FAST
def test_normalizers_are_computed_once_for_all_peaks(monkeypatch):
    recorded = trace(convolutions(), torch.rand(1, 3, 24, 24))
    calls, normalizer = [], Convolution.normalizer
    monkeypatch.setattr(Convolution, 'normalizer', lambda self, x: calls.append(len(x)) or normalizer(self, x))
    monkeypatch.setattr('mmiam.ops.peak_backprop.tape.CHUNK_BYTES', {'cpu': 300, 'cuda': 300})  # a peak at a time
    assert len(recorded.backpropagate(recorded.output, PEAKS)) == 4
    assert calls == [1, 1, 1]  # one image, three layers


@FAST
def test_a_peak_is_computed_on_its_window(monkeypatch):
    recorded = trace(convolutions(), torch.rand(1, 3, 24, 24))
    sizes, transpose = [], Convolution._transpose
    monkeypatch.setattr(Convolution, '_transpose',
                        lambda self, grad, small: sizes.append(tuple(grad.shape)) or transpose(self, grad, small))
    maps = recorded.backpropagate(recorded.output, PEAKS)
    assert sizes == [(4, 3, 1, 1), (4, 3, 3, 3), (4, 3, 5, 5)]
    ys, xs = torch.meshgrid(torch.arange(24), torch.arange(24), indexing='ij')
    for (_, _, y, x), one in zip(PEAKS.tolist(), maps):  # 7 x 7 pixels see the peak
        assert (one[((ys - y).abs() > 3) | ((xs - x).abs() > 3)] == 0).all()


def test_no_parameter_gets_a_gradient():
    network = convolutions()
    with torch.enable_grad():
        assert not peak_response_maps(network, torch.rand(1, 3, 24, 24), PEAKS).requires_grad
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize('engine', ['auto', 'autograd'])
def test_nothing_is_handed_on_below_eps(engine):
    # one 1x1 layer with weights (1, 2): Z = x^_1 + 2 x^_2, x^ being shifted by the zero in the corner
    layer = nn.Conv2d(2, 1, 1, bias=False).double().eval()
    layer.weight.data = torch.tensor([1., 2.], dtype=torch.float64).view(1, 2, 1, 1)
    image = torch.zeros(1, 2, 1, 3, dtype=torch.float64)
    image[0, :, 0, 1] = torch.tensor([3e-11, 3e-11])  # Z = 9e-11
    image[0, :, 0, 2] = torch.tensor([4e-11, 4e-11])  # Z = 1.2e-10
    recorded = trace(layer, image, engine)
    maps = recorded.backpropagate(recorded.output, torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]]))
    assert maps[:, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


class DeformConv2d(torch.autograd.Function):
    """Stands for the deformable convolution of mmcv, a function of its own, too: its one tap reads the right pixel."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        return torch.einsum('oc,bchw->bohw', weight, x.roll(-1, 3))

    @staticmethod
    def backward(ctx, grad):
        return torch.einsum('oc,bohw->bchw', ctx.weight, grad).roll(1, 3), None


def test_deformable_convolution_is_named_and_differentiated_ordinarily():
    torch.manual_seed(0)
    first, weight, images = nn.Conv2d(3, 3, 3, padding=1).eval(), torch.randn(2, 3), torch.rand(1, 3, 9, 9)
    with pytest.warns(UserWarning, match='ordinarily: DeformConv2d$') as record:
        recorded = trace(lambda x: DeformConv2d.apply(first(x), weight), images)
    assert len(record) == 2 and not recorded.batched
    maps = recorded.backpropagate(recorded.output, torch.tensor([[0, 1, 4, 4]]))
    # its own gradient, with either sign, goes to the pixel on the right; Eq. 1 takes over in the first layer
    share = torch.zeros(1, 3, 9, 9)
    share[0, :, 4, 5] = weight[1]
    shifted = (images - images.min()).requires_grad_()
    z = nn.functional.conv2d(shifted, first.weight.detach().clamp(min=0), padding=1)
    routed, = torch.autograd.grad(z, shifted, share / (z.detach() + 1e-10))
    expected = (routed * shifted).sum(1)[0].detach().clamp(min=0)
    torch.testing.assert_close(maps[0], expected / expected.sum(), rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device and pytest -k cuda')
@pytest.mark.parametrize('engine', ['auto', 'autograd'])
def test_cuda_equals_cpu(engine):
    network, images = convolutions(stride=2).double(), torch.rand(1, 3, 96, 96, dtype=torch.float64)
    maps = []
    for device in ('cpu', 'cuda'):
        recorded = trace(network.to(device), images.to(device), engine)
        maps.append(recorded.backpropagate(recorded.output, PEAKS % 12).cpu())
    torch.testing.assert_close(*maps, rtol=1e-5, atol=1e-12)
