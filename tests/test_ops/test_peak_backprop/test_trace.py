"""Peak back-propagation: Eq. 1 by hand, against hooks written here, and its promises to the caller."""

import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from support import HALF
from torch import nn

from mmiam.ops.peak_backprop import Trace, peak_response_maps

EPS = 1e-10
MODULE = sys.modules[Trace.__module__]


@pytest.fixture(params=['at once', 'one by one'])
def passes(request, monkeypatch):
    """Small maps go back all at once; without room for two, one by one."""
    if request.param == 'one by one':
        monkeypatch.setattr(MODULE, 'CHUNK_BYTES', {'cpu': 1})


class RuleConv(torch.autograd.Function):
    """Eq. 1 for one convolution or linear layer, as a slow reference of its own: explicit Jacobian products."""

    @staticmethod
    def forward(ctx, x, weight, bias, run):
        ctx.save_for_backward(x, weight)
        ctx.run = run
        return run(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        positive = weight.clamp(min=0)
        result = torch.empty_like(x)
        for sample in range(len(x)):
            shifted = x[sample:sample + 1] - x[sample].min()
            z, vjp = torch.func.vjp(lambda u: ctx.run(u, positive, None), shifted)
            share = torch.where(z < EPS, torch.zeros_like(z), grad[sample:sample + 1] / (z.abs() + EPS))
            result[sample:sample + 1] = shifted * vjp(share)[0]
        return result, None, None, None


def slow_maps(network, images, peaks):
    """One forward with replaced layers and one backward per peak and image."""
    conv2d, linears = F.conv2d, [module for module in network.modules() if isinstance(module, nn.Linear)]
    F.conv2d = lambda x, weight, bias, *options: RuleConv.apply(
        x, weight, bias, lambda *args: conv2d(*args, *options))
    for layer in linears:
        layer.forward = lambda x, layer=layer: RuleConv.apply(x, layer.weight, layer.bias, F.linear)
    maps = []
    for b, c, y, x in peaks.tolist():
        leaf = images[b:b + 1].clone().requires_grad_()
        grad, = torch.autograd.grad(network(leaf)[0, c, y, x], leaf)
        prm = grad[0].sum(0).clamp(min=0)
        maps.append(prm / prm.sum() if prm.sum() > 0 else prm)
    F.conv2d = conv2d
    for layer in linears:
        del layer.forward
    return torch.stack(maps)


def settle(network, seed=0):
    """Eval mode, weights and normalization statistics away from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        for name in ('weight', 'bias'):
            value = getattr(module, name, None)
            if isinstance(value, nn.Parameter):
                value.data = torch.randn(value.shape, generator=generator, dtype=value.dtype) * .3
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * .2)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + .5)
            module.weight.data += 1
    network.eval()
    return network


def pictures(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Residual(nn.Module):
    def __init__(self, *body, shortcut=None):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), shortcut or nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def up(x):
    return F.interpolate(x, scale_factor=3, mode='bilinear', align_corners=True)


NETWORKS = {
    'plain': lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1)),
    'stem': lambda: nn.Sequential(nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(True),
                                  nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 5, 3, padding=1)),
    'same': lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding='same'), nn.ReLU(), nn.Conv2d(8, 5, 3, padding='valid')),
    'reflect': lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode='reflect'), nn.Conv2d(8, 5, 1)),
    'dilation': lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.ReLU(),
                                      nn.Conv2d(4, 8, 3, 2, 2, dilation=(2, 1)), nn.Conv2d(8, 5, 1)),
    'depthwise': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(True), nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.ReLU6(),
        nn.Conv2d(6, 6, 3, 2, 1, groups=6), nn.ReLU6(True), nn.Conv2d(6, 6, 3, 1, 3, 2, groups=6), nn.Conv2d(6, 5, 1)),
    'residual': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU(True),
        Residual(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)),
        Residual(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
        Residual(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), shortcut=nn.Conv2d(6, 8, 1, 2)), nn.Conv2d(8, 5, 1)),
    'upsampled': lambda: nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), Lambda(up)),
    'resampled': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.Upsample(scale_factor=2, mode='bilinear'), nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, 2)),
    'pools': lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LeakyReLU(.1), nn.AvgPool2d(2), nn.ReLU(),
                                   nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True),
                                   nn.AdaptiveAvgPool2d((3, 2)), nn.Conv2d(6, 5, 1)),
    'activations': lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.Conv2d(6, 6, 1), nn.Hardswish(),
                                         nn.Conv2d(6, 6, 1), nn.GELU(), nn.Conv2d(6, 5, 1),
                                         Lambda(lambda x: 2 - x * 3 / 2)),
    'linear': lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(12), nn.ReLU(),
                                    nn.Linear(12, 20), Lambda(lambda x: x.view(-1, 5, 2, 2))),
    'channel_linear': lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), Lambda(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(4, 8), nn.ReLU(),
        nn.Linear(8, 5), Lambda(lambda x: x.permute(0, 3, 1, 2))),
}


def network_of(name, dtype=torch.float64):
    network = NETWORKS[name]()
    if any(isinstance(module, nn.modules.lazy.LazyModuleMixin) for module in network.modules()):
        network(torch.zeros(1, 3, 12, 13))
    return settle(network.to(dtype))


def corners_and_middle(response, count=5):
    """Peaks of both images, at borders and inside."""
    _, classes, height, width = response.shape
    rows = [(0, 0, 0, 0), (1, 1, height - 1, width - 1), (0, 2, height // 2, width // 2),
            (1, 3, 0, width - 1), (1, 4, height // 2, 0)]
    return torch.tensor(rows[:count])


@pytest.mark.parametrize('name', NETWORKS)
def test_equals_slow_reference(name, passes):
    network, images = network_of(name), pictures(2, 3, 12, 13, dtype=torch.float64)
    plain = network(images)
    recorded = Trace(network, images)
    assert torch.equal(recorded.output, plain) and not recorded.output.requires_grad
    assert recorded.backpropagate(recorded.output, torch.zeros(0, 4, dtype=torch.long)).shape == (0, 12, 13)
    peaks = corners_and_middle(plain)
    maps = recorded.backpropagate(recorded.output, peaks)
    expected = slow_maps(network, images, peaks)
    assert maps.shape == (5, 12, 13)
    assert torch.allclose(maps, expected, rtol=1e-5, atol=1e-12 + 1e-6 * expected.max().item())
    total = maps.sum((1, 2))
    assert (maps >= 0).all() and torch.allclose(total[total > 0], torch.ones(()).double())


def test_by_hand(passes):
    """One 1x2 convolution: x^ = (2, 0, 6), W+ = (1, 3) and only its positive part counts."""
    conv = nn.Conv2d(1, 1, (1, 2), bias=True).eval()
    conv.weight.data = torch.tensor([1., 3.]).view(1, 1, 1, 2)
    image = torch.tensor([3., 1., 7.]).view(1, 1, 1, 3)
    maps = peak_response_maps(conv, image, torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]]))
    # Peak 0: Z = 2*1 + 0*3 = 2, shares (1, 0, 0). Peak 1: Z = 0*1 + 6*3, shares (0, 0, 1).
    assert torch.allclose(maps[:, 0], torch.tensor([[1., 0, 0], [0, 0, 1]]))


@pytest.mark.parametrize('size', [1, 2, 3, 100])
def test_splitting_into_chunks(size, monkeypatch):
    network, images = network_of('residual', torch.float32), pictures(2, 3, 16, 16)
    expected = Trace(network, images)
    peaks = torch.tensor([[0, 0, 0, 0], [1, 1, 7, 7], [0, 2, 3, 3], [0, 3, 0, 7], [0, 3, 0, 7], [1, 0, 2, 1]])
    # The largest maps: 2 x 6 x 16 x 16 values of 4 bytes.
    monkeypatch.setattr(MODULE, 'CHUNK_BYTES', {'cpu': size * 2 * 6 * 16 * 16 * 4})
    recorded, counts, differentiate = Trace(network, images), [], Trace._differentiate
    monkeypatch.setattr(Trace, '_differentiate', lambda self, response, seeds: counts.append(len(seeds))
                        or differentiate(self, response, seeds))
    maps = recorded.backpropagate(recorded.output, peaks)
    assert counts == {1: [1] * 4, 2: [2, 2], 3: [3, 1], 100: [4]}[size]  # four peaks of the first image
    assert torch.allclose(maps, expected.backpropagate(expected.output, peaks), rtol=1e-5, atol=1e-9)


def test_several_outputs(passes):
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = F.relu(self.body(x))
            return dict(features=[x, (self.first(x), None)], response=self.second(x), size=3)

    network, images = settle(TwoHeads()), pictures(1, 3, 8, 8)
    recorded = Trace(network, images)
    assert recorded.output['size'] == 3 and recorded.output['features'][1][1] is None
    peaks = torch.tensor([[0, 1, 2, 2]])
    for pick in (lambda output: output['response'], lambda output: output['features'][1][0],
                 lambda output: output['features'][0]):
        maps = recorded.backpropagate(pick(recorded.output), peaks)
        expected = peak_response_maps(lambda x, pick=pick: pick(network(x)), images, peaks)
        assert torch.allclose(maps, expected)
    with pytest.raises(ValueError, match='Trace.output'):
        recorded.backpropagate(recorded.output['response'].clone(), peaks)


def test_no_gradient_mode_and_inference_mode(passes):
    network, images = network_of('stem', torch.float32), pictures(1, 3, 12, 13)
    peaks = torch.tensor([[0, 1, 1, 1]])
    expected = peak_response_maps(network, images, peaks)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            recorded = Trace(network, images.clone())
            assert torch.allclose(recorded.backpropagate(recorded.output, peaks), expected, rtol=1e-5, atol=1e-8)
    assert all(parameter.grad is None for parameter in network.parameters())
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert torch.allclose(peak_response_maps(network, images, peaks), expected, rtol=1e-5, atol=1e-8)


def test_zero_gradient_gives_empty_map(passes):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    network[0].bias.data.fill_(-1e6)  # every activation is cut off
    network[2].weight.data.abs_()
    maps = peak_response_maps(network.eval(), pictures(1, 3, 8, 8), torch.tensor([[0, 0, 2, 2]]))
    assert torch.equal(maps, torch.zeros(1, 8, 8))
    negative = nn.Conv2d(3, 2, 3)
    negative.weight.data = -negative.weight.data.abs()  # no positive weight: Z is zero
    recorded = Trace(negative, pictures(1, 3, 8, 8))
    maps = recorded.backpropagate(recorded.output, torch.tensor([[0, 0, 2, 2], [0, 1, 5, 5]]))
    assert torch.equal(maps, torch.zeros(2, 8, 8))


def test_nothing_stays_patched_after_an_exception():
    network, images, checkpoint = network_of('plain', torch.float32), pictures(1, 3, 12, 13), torch.utils.checkpoint

    def failing(x):
        raise KeyError(network(x))

    before = checkpoint.checkpoint
    with pytest.raises(KeyError):
        Trace(failing, images)
    assert checkpoint.checkpoint is before and 'Convolution' in network(images).grad_fn.name()


@pytest.mark.parametrize('dtype, tolerance', [
    (torch.bfloat16, 2e-2), pytest.param(*HALF.values, 3e-3, marks=HALF.marks)])
def test_half_precision(dtype, tolerance, passes):
    """Activations are rounded, but shares are computed in single precision: maps stay close and sum to 1."""
    network, images = network_of('residual', torch.float32), pictures(1, 3, 16, 16)
    peaks = torch.tensor([[0, 1, 3, 3], [0, 4, 7, 0]])
    expected = peak_response_maps(network, images, peaks)
    recorded = Trace(network.to(dtype), images.to(dtype))
    assert recorded.output.dtype == dtype
    maps = recorded.backpropagate(recorded.output, peaks)
    assert maps.dtype == torch.float32
    assert torch.allclose(maps.sum((1, 2)), torch.ones(2), atol=1e-5)
    assert (maps - expected).abs().sum((1, 2)).max() < tolerance  # of a mass of 1


def test_operations_outside_the_theory_are_named_once():
    def attention(x):
        tokens = x.flatten(2).mT
        mixed = torch.softmax(tokens @ tokens.mT, -1) @ tokens
        return mixed.mT.reshape(x.shape)

    network = settle(nn.Sequential(nn.Conv2d(3, 4, 3, 2), Lambda(attention), nn.Conv2d(4, 5, 1)).double())
    images = pictures(2, 3, 9, 9, dtype=torch.float64)
    with pytest.warns(UserWarning, match='ordinarily: Bmm, Softmax$') as record:
        recorded = Trace(network, images)
    assert len(record) == 1
    peaks = corners_and_middle(recorded.output)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        maps = recorded.backpropagate(recorded.output, peaks)
    assert torch.allclose(maps, slow_maps(network, images, peaks), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize('name', ['upsampled', 'resampled'])
def test_deterministic_mode(name, passes):
    """Bilinear maps go back by matrices there; same maps."""
    network, images = network_of(name, torch.float32), pictures(2, 3, 12, 13)
    usual = Trace(network, images)
    peaks = corners_and_middle(usual.output)
    expected = usual.backpropagate(usual.output, peaks)
    torch.use_deterministic_algorithms(True)
    try:
        recorded = Trace(network, images)
        maps = recorded.backpropagate(recorded.output, peaks)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(recorded.output, usual.output)
    assert torch.allclose(maps, expected, atol=1e-6)
    assert network(images.requires_grad_()).grad_fn.name().startswith(('Upsample', 'Convolution'))  # nothing stays


class Checkpointed(nn.Module):
    """A block as mmdet's backbones have them with ``with_cp=True``."""

    def __init__(self, block, function=None):
        super().__init__()
        self.block, self.function = block, function

    def forward(self, x):
        run = self.function or torch.utils.checkpoint.checkpoint
        return run(self.block, x, use_reentrant=True) if x.requires_grad else self.block(x)


def test_checkpointed_blocks_are_recorded():
    plain, images = network_of('residual', torch.float32), pictures(2, 3, 16, 16)
    saving = nn.Sequential(plain[0], Checkpointed(plain[1:6]), *plain[6:])
    expected = Trace(plain, images)
    recorded = Trace(saving, images)
    peaks = corners_and_middle(expected.output)
    assert torch.equal(recorded.output, expected.output)
    maps = recorded.backpropagate(recorded.output, peaks)
    assert torch.equal(maps, expected.backpropagate(expected.output, peaks))
    leaf = images.clone().requires_grad_()
    assert 'CheckpointFunction' in saving[:2](leaf).grad_fn.name()  # training saves memory as before
    early = nn.Sequential(Checkpointed(plain, torch.utils.checkpoint.checkpoint))
    with pytest.raises(ValueError, match='with_cp=False'):
        Trace(early, images)


@pytest.mark.parametrize('peaks, message', [
    (torch.tensor([[0, 5, 0, 0]]), 'outside'), (torch.tensor([[0., 0, 0, 0]]), 'integer'),
    (torch.tensor([0, 0, 0, 0]), 'integer')])
def test_bad_peaks(peaks, message):
    recorded = Trace(network_of('plain', torch.float32), pictures(1, 3, 12, 13))
    with pytest.raises(ValueError, match=message):
        recorded.backpropagate(recorded.output, peaks)


def test_bad_input():
    with pytest.raises(ValueError, match='eval'):  # statistics of the batch
        Trace(network_of('stem', torch.float32).train(), pictures(2, 3, 12, 13))
    with pytest.raises(ValueError, match='B, 3, H, W'):
        Trace(nn.Identity(), torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match='depends on the images'):
        Trace(torch.no_grad()(nn.Conv2d(3, 1, 1)), pictures(1, 3, 4, 4))


def test_nothing_is_handed_on_below_eps(passes):
    # one 1x1 layer with weights (1, 2): Z = x^_1 + 2 x^_2, x^ being shifted by the zero in the corner
    layer = nn.Conv2d(2, 1, 1, bias=False).double().eval()
    layer.weight.data = torch.tensor([1., 2.], dtype=torch.float64).view(1, 2, 1, 1)
    image = torch.zeros(1, 2, 1, 3, dtype=torch.float64)
    image[0, :, 0, 1] = torch.tensor([3e-11, 3e-11])  # Z = 9e-11
    image[0, :, 0, 2] = torch.tensor([4e-11, 4e-11])  # Z = 1.2e-10
    maps = peak_response_maps(layer, image, torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]]))
    assert maps[:, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_not_a_number_is_not_hidden(passes):
    layer, image = network_of('plain', torch.float32)[0], torch.rand(1, 3, 9, 9)
    image[0, 0, 4, 4] = float('nan')
    assert peak_response_maps(layer, image, torch.tensor([[0, 0, 3, 3], [0, 1, 4, 3]])).isnan().flatten(1).any(1).all()


class DeformConv2d(torch.autograd.Function):
    """Stands for the deformable convolution of mmcv, a function of its own, too: its one tap reads the right pixel.

    As mmcv's it takes the values of its gradient, which a gradient of several peaks at once does not have.
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        return torch.einsum('oc,bchw->bohw', weight, x.roll(-1, 3))

    @staticmethod
    def backward(ctx, grad):
        grad = torch.from_numpy(grad.numpy())
        return torch.einsum('oc,bohw->bchw', ctx.weight, grad).roll(1, 3), None


def test_deformable_convolution_is_named_and_differentiated_ordinarily():
    torch.manual_seed(0)
    first, weight, images = nn.Conv2d(3, 3, 3, padding=1).eval(), torch.randn(2, 3), torch.rand(1, 3, 9, 9)
    with pytest.warns(UserWarning, match='ordinarily: DeformConv2d$') as record:
        recorded = Trace(lambda x: DeformConv2d.apply(first(x), weight), images)
    assert len(record) == 1
    peaks = torch.tensor([[0, 1, 4, 4], [0, 0, 2, 3]])
    with pytest.warns(UserWarning, match='one pass a peak'):
        maps = recorded.backpropagate(recorded.output, peaks)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # said once
        again = recorded.backpropagate(recorded.output, peaks)
    assert torch.equal(again, maps)
    # its own gradient, with either sign, goes to the pixel on the right; Eq. 1 takes over in the first layer
    share = torch.zeros(1, 3, 9, 9)
    share[0, :, 4, 5] = weight[1]
    shifted = (images - images.min()).requires_grad_()
    z = nn.functional.conv2d(shifted, first.weight.detach().clamp(min=0), padding=1)
    routed, = torch.autograd.grad(z, shifted, share / (z.detach() + 1e-10))
    expected = (routed * shifted).sum(1)[0].detach().clamp(min=0)
    torch.testing.assert_close(maps[0], expected / expected.sum(), rtol=1e-5, atol=1e-7)
