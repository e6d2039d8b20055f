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


def settle(network, dtype=torch.float64):
    """Eval mode, weights and normalization statistics away from their defaults."""
    generator = torch.Generator().manual_seed(0)
    network.to(dtype)
    for module in network.modules():
        if isinstance(module, nn.modules.lazy.LazyModuleMixin):
            network(torch.zeros(1, 3, 12, 13, dtype=dtype))
        for value in module.parameters(recurse=False):
            value.data = torch.randn(value.shape, generator=generator, dtype=dtype) * .3
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * .2)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + .5)
            module.weight.data += 1
    return network.eval()


def pictures(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


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


NETWORKS = {
    'stem': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(True), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 6, 3, padding='same'), nn.ReLU(), nn.Conv2d(6, 5, 1, padding='valid')),
    'paddings': lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect'), nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.ReLU(),
        nn.Conv2d(4, 8, 3, 2, 2, dilation=(2, 1)), nn.Conv2d(8, 5, 1)),
    'depthwise': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(True), nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.ReLU6(),
        nn.Conv2d(6, 6, 3, 2, 1, groups=6), nn.ReLU6(True), nn.Conv2d(6, 6, 3, 1, 3, 2, groups=6), nn.Conv2d(6, 5, 1)),
    'residual': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU(True),
        Residual(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)),
        Residual(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)),
        Residual(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), shortcut=nn.Conv2d(6, 8, 1, 2)), nn.Conv2d(8, 5, 1)),
    'resampled': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.Upsample(scale_factor=2, mode='bilinear'), nn.Conv2d(6, 6, 3, 2, padding=1),
        nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, 2),
        Lambda(lambda x: F.interpolate(x, size=(7, 9), mode='bilinear', align_corners=True))),
    'pools': lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.LeakyReLU(.1), nn.AvgPool2d(2), nn.SiLU(), nn.Conv2d(6, 6, 3, padding=1),
        nn.Hardswish(), nn.MaxPool2d(2, ceil_mode=True), nn.GELU(), nn.AdaptiveAvgPool2d((3, 2)), nn.Conv2d(6, 5, 1),
        Lambda(lambda x: 2 - x * 3 / 2)),
    'linear': lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(12), nn.ReLU(),
                                    nn.Linear(12, 20), Lambda(lambda x: x.view(-1, 5, 2, 2))),
    'channel_linear': lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), Lambda(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(4, 8), nn.ReLU(),
        nn.Linear(8, 5), Lambda(lambda x: x.permute(0, 3, 1, 2))),
}


def corners_and_middle(response):
    """Peaks of both images, at borders and inside."""
    _, classes, height, width = response.shape
    return torch.tensor([(0, 0, 0, 0), (1, 1, height - 1, width - 1), (0, 2, height // 2, width // 2),
                         (1, 3, 0, width - 1), (1, 4, height // 2, 0)])


@pytest.mark.parametrize('name', NETWORKS)
def test_equals_slow_reference(name, passes):
    network, images = settle(NETWORKS[name]()), pictures(2, 3, 12, 13, dtype=torch.float64)
    plain, recorded = network(images), Trace(network, images)
    assert torch.equal(recorded.output, plain) and not recorded.output.requires_grad
    assert recorded.backpropagate(recorded.output, torch.zeros(0, 4, dtype=torch.long)).shape == (0, 12, 13)
    peaks = corners_and_middle(plain)
    maps, expected = recorded.backpropagate(recorded.output, peaks), slow_maps(network, images, peaks)
    assert maps.shape == (5, 12, 13)
    assert torch.allclose(maps, expected, rtol=1e-5, atol=1e-12 + 1e-6 * expected.max().item())
    total = maps.sum((1, 2))
    assert (maps >= 0).all() and torch.allclose(total[total > 0], torch.ones(()).double())


@pytest.mark.parametrize('weight, image, peaks, expected', [
    # x^ = (2, 0, 6). Peak 0: Z = 2*1 + 0*3 = 2, shares (1, 0, 0). Peak 1: Z = 0*1 + 6*3, shares (0, 0, 1)
    ([[[[1, 3]]]], [[[3, 1, 7]]], [0, 1], [[1, 0, 0], [0, 0, 1]]),
    ([[[[1, -3]]]], [[[3, 1, 7]]], [0, 1], [[1, 0, 0], [0, 0, 0]]),  # only positive weights count; Z is zero
    # Z = 0, 9e-11 and 1.2e-10, of which the first two count as nothing
    ([[[[1]], [[2]]]], [[[0, 3e-11, 4e-11]]] * 2, [0, 1, 2], [[0, 0, 0], [0, 0, 0], [0, 0, 1]])])
def test_one_layer_by_hand(weight, image, peaks, expected, passes):
    weight, image = torch.tensor(weight).double(), torch.tensor(image).double().view(1, -1, 1, 3)
    maps = peak_response_maps(lambda x: F.conv2d(x, weight, torch.ones(1).double()), image,
                              torch.tensor([[0, 0, 0, x] for x in peaks]))
    assert maps[:, 0].tolist() == expected


def test_zero_gradient_gives_an_empty_map_and_nan_is_not_hidden(passes):
    network, images, peaks = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1)),
                                    torch.float32), pictures(1, 3, 8, 8), torch.tensor([[0, 0, 2, 2], [0, 1, 3, 3]])
    network[0].bias.data.fill_(-1e6)  # every activation is cut off
    assert torch.equal(peak_response_maps(network, images, peaks), torch.zeros(2, 8, 8))
    images[0, 0, 4, 4] = float('nan')
    assert peak_response_maps(network[0], images, peaks).isnan().flatten(1).any(1).all()


@pytest.mark.parametrize('room, counts', [(1, [1] * 4), (2, [2, 2]), (3, [3, 1]), (100, [4])])
def test_splitting_into_chunks(room, counts, monkeypatch):
    """Four peaks of the first image; the largest maps are 2 x 6 x 16 x 16 values of 4 bytes."""
    network, images = settle(NETWORKS['residual'](), torch.float32), pictures(2, 3, 16, 16)
    expected = Trace(network, images)
    peaks = torch.tensor([[0, 0, 0, 0], [1, 1, 7, 7], [0, 2, 3, 3], [0, 3, 0, 7], [0, 3, 0, 7], [1, 0, 2, 1]])
    monkeypatch.setattr(MODULE, 'CHUNK_BYTES', {'cpu': room * 2 * 6 * 16 * 16 * 4})
    recorded, found, differentiate = Trace(network, images), [], Trace._differentiate
    monkeypatch.setattr(Trace, '_differentiate', lambda self, response, seeds: found.append(len(seeds))
                        or differentiate(self, response, seeds))
    maps = recorded.backpropagate(recorded.output, peaks)
    assert found == counts
    assert torch.allclose(maps, expected.backpropagate(expected.output, peaks), rtol=1e-5, atol=1e-9)


def test_several_outputs(passes):
    body, first, second = (settle(nn.Conv2d(*sizes), torch.float32) for sizes in ((3, 4, 3), (4, 5, 1), (4, 2, 1)))

    def network(x):
        x = F.relu(body(x))
        return dict(features=[x, (first(x), None)], response=second(x), size=3)

    images, peaks = pictures(1, 3, 8, 8), torch.tensor([[0, 1, 2, 2]])
    recorded = Trace(network, images)
    assert recorded.output['size'] == 3 and recorded.output['features'][1][1] is None
    for pick in (lambda output: output['response'], lambda output: output['features'][1][0],
                 lambda output: output['features'][0]):
        expected = peak_response_maps(lambda x, pick=pick: pick(network(x)), images, peaks)
        assert torch.allclose(recorded.backpropagate(pick(recorded.output), peaks), expected)
    with pytest.raises(ValueError, match='Trace.output'):
        recorded.backpropagate(recorded.output['response'].clone(), peaks)


def test_gradients_need_not_be_enabled_and_reach_no_parameter(passes):
    network, images = settle(NETWORKS['stem'](), torch.float32), pictures(1, 3, 12, 13)
    peaks = torch.tensor([[0, 1, 1, 1]])
    expected = peak_response_maps(network, images, peaks)
    assert all(parameter.grad is None for parameter in network.parameters())
    network.requires_grad_(False)
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            maps = peak_response_maps(network, images.clone(), peaks)
        assert torch.allclose(maps, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize('dtype, tolerance', [
    (torch.bfloat16, 2e-2), pytest.param(*HALF.values, 3e-3, marks=HALF.marks)])
def test_half_precision(dtype, tolerance, passes):
    """Activations are rounded, but shares are computed in single precision: maps stay close and sum to 1."""
    network, images = settle(NETWORKS['residual'](), torch.float32), pictures(1, 3, 16, 16)
    peaks = torch.tensor([[0, 1, 3, 3], [0, 4, 7, 0]])
    expected = peak_response_maps(network, images, peaks)
    recorded = Trace(network.to(dtype), images.to(dtype))
    maps = recorded.backpropagate(recorded.output, peaks)
    assert recorded.output.dtype == dtype and maps.dtype == torch.float32
    assert torch.allclose(maps.sum((1, 2)), torch.ones(2), atol=1e-5)
    assert (maps - expected).abs().sum((1, 2)).max() < tolerance  # of a mass of 1


def mix(x):
    """Attention of an image's pixels to each other."""
    tokens = x.flatten(2).mT
    return (torch.softmax(tokens @ tokens.mT, -1) @ tokens).mT.reshape(x.shape)


class DeformConv2d(torch.autograd.Function):
    """Stands for the deformable convolution of mmcv, a function of its own, too: its one tap reads the right pixel.

    As mmcv's it takes the values of its gradient, which a gradient of several peaks at once does not have.
    """

    @staticmethod
    def forward(ctx, x):
        return -2 * x.roll(-1, 3)

    @staticmethod
    def backward(ctx, grad):
        return -2 * torch.from_numpy(grad.numpy()).roll(1, 3)


@pytest.mark.parametrize('function, names, slow', [
    (mix, 'Bmm, Softmax', False), (DeformConv2d.apply, 'DeformConv2d', True)])
def test_what_is_outside_the_theory_is_named_once_and_differentiated_ordinarily(function, names, slow):
    network = settle(nn.Sequential(nn.Conv2d(3, 4, 3, 2), Lambda(function), nn.Conv2d(4, 5, 1)))
    images = pictures(2, 3, 9, 9, dtype=torch.float64)
    with pytest.warns(UserWarning, match=f'ordinarily: {names}$') as record:
        recorded = Trace(network, images)
    assert len(record) == 1
    peaks = corners_and_middle(recorded.output)
    if slow:
        with pytest.warns(UserWarning, match='one pass a peak'):
            recorded.backpropagate(recorded.output, peaks)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # said once
        maps = recorded.backpropagate(recorded.output, peaks)
    assert torch.allclose(maps, slow_maps(network, images, peaks), rtol=1e-5, atol=1e-9)


def test_deterministic_mode(passes):
    """Bilinear maps go back by matrices there; same maps."""
    network, images = settle(NETWORKS['resampled'](), torch.float32), pictures(2, 3, 12, 13)
    usual = Trace(network, images)
    peaks = corners_and_middle(usual.output)
    torch.use_deterministic_algorithms(True)
    try:
        recorded = Trace(network, images)
        maps = recorded.backpropagate(recorded.output, peaks)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(recorded.output, usual.output)
    assert torch.allclose(maps, usual.backpropagate(usual.output, peaks), atol=1e-6)


class Checkpointed(nn.Module):
    """A block as mmdet's backbones have them with ``with_cp=True``."""

    def __init__(self, block, function=None):
        super().__init__()
        self.block, self.function = block, function

    def forward(self, x):
        run = self.function or torch.utils.checkpoint.checkpoint
        return run(self.block, x, use_reentrant=True) if x.requires_grad else self.block(x)


def test_checkpointed_blocks_are_recorded():
    plain, images = settle(NETWORKS['residual'](), torch.float32), pictures(2, 3, 16, 16)
    saving = nn.Sequential(plain[0], Checkpointed(plain[1:6]), *plain[6:])
    expected, recorded = Trace(plain, images), Trace(saving, images)
    peaks = corners_and_middle(expected.output)
    assert torch.equal(recorded.output, expected.output)
    assert torch.equal(recorded.backpropagate(recorded.output, peaks), expected.backpropagate(expected.output, peaks))
    leaf = images.clone().requires_grad_()
    assert 'CheckpointFunction' in saving[:2](leaf).grad_fn.name()  # training saves memory as before
    with pytest.raises(ValueError, match='with_cp=False'):
        Trace(Checkpointed(plain, torch.utils.checkpoint.checkpoint), images)


def test_nothing_stays_patched_after_an_exception():
    network, images, before = nn.Conv2d(3, 4, 3), pictures(1, 3, 9, 9), torch.utils.checkpoint.checkpoint

    def failing(x):
        raise KeyError(network(x))

    with pytest.raises(KeyError):
        Trace(failing, images)
    assert torch.utils.checkpoint.checkpoint is before and 'Convolution' in network(images).grad_fn.name()


@pytest.mark.parametrize('network, images, peaks, message', [
    (nn.Conv2d(3, 5, 3), (1, 3, 9, 9), [[0, 5, 0, 0]], 'outside'),
    (nn.Conv2d(3, 5, 3), (1, 3, 9, 9), [[0., 0, 0, 0]], 'integer'),
    (nn.Conv2d(3, 5, 3), (1, 3, 9, 9), [0, 0, 0, 0], 'integer'),
    (nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten()), (1, 3, 9, 9), [[0, 0, 0, 0]], 'response must be'),
    (nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (1, 3, 9, 9), [], 'eval'),  # statistics of the batch
    (Lambda(lambda x: F.conv2d(x[0], torch.ones(1, 3, 1, 1))), (1, 3, 9, 9), [], 'with a batch dimension'),
    (nn.Identity(), (3, 4, 4), [], 'B, 3, H, W'), (Lambda(torch.no_grad()(nn.Conv2d(3, 1, 1))), (1, 3, 4, 4), [],
                                                   'depends on the images')])
def test_bad_input(network, images, peaks, message):
    with pytest.raises(ValueError, match=message):
        peak_response_maps(network, torch.zeros(images), torch.tensor(peaks))
