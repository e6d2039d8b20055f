"""Extent filling, Eq. (2) and (3), against loops over steps and pixels."""
import math

import pytest
import torch
from support import Seen

from mmiam.ops.extent_filling import extent_filling, normalize_filling_weights
from mmiam.ops.extent_filling import kernel as filling_kernel


def slow_filling(features, weights, num_steps, image_index=None):
    """Eq. (3) written out: every neighbor of every location, one shift at a time, differentiable."""
    if image_index is not None:
        weights = weights[image_index]
    num, channels, height, width = features.shape
    side = math.isqrt(weights.size(2))
    for _ in range(num_steps):
        padded = torch.nn.functional.pad(features, [side // 2] * 4)
        features = sum(weights[:, :, u * side + v] * padded[:, :, u:u + height, v:v + width]
                       for u in range(side) for v in range(side))
    return features


def random_case(num=3, images=1, channels=2, side=3, size=(4, 5), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num, channels, *size, generator=generator, dtype=dtype)
    logits = torch.randn(images, channels * side**2, *size, generator=generator, dtype=dtype)
    return features, normalize_filling_weights(logits, side)


def assert_equal_results(features, weights, steps, index=None):
    """Value and both gradients are those of the loop."""
    inputs = features.requires_grad_(), weights.requires_grad_()
    results = []
    for fill in (extent_filling, slow_filling):
        filled = fill(*inputs, steps, index)
        seed = torch.randn(filled.shape, generator=torch.Generator().manual_seed(1), dtype=filled.dtype)
        results.append([filled, *torch.autograd.grad(filled, inputs, seed)])
    # the loop's zero padding gives weights of neighbors outside a gradient of zero, too
    for fast, slow in zip(*results):
        assert torch.allclose(fast, slow, rtol=1e-11, atol=1e-13)


def test_one_step_by_hand():
    # three locations in a row, tap 3 = left, 4 = itself, 5 = right
    weights = torch.zeros(1, 1, 9, 1, 3)
    weights[0, 0, 3] = torch.tensor([[0., .25, .75]])
    weights[0, 0, 4] = torch.tensor([[.5, .5, .25]])
    weights[0, 0, 5] = torch.tensor([[.5, .25, 0.]])
    features = torch.tensor([[[[8., 0., 4.]]]])
    # .5*8 + .5*0; .25*8 + .5*0 + .25*4; .75*0 + .25*4
    assert extent_filling(features, weights, 1).tolist() == [[[[4., 3., 1.]]]]
    # the second step starts from the first one's result, not from the cue (G^{k-1}, not E)
    assert extent_filling(features, weights, 2).tolist() == [[[[3.5, 2.75, 2.5]]]]


def test_softmax_weights_by_hand():
    logits = torch.zeros(1, 9, 1, 2)
    logits[0, 5, 0, 0] = math.log(3.)  # the left pixel's right neighbor
    weights = normalize_filling_weights(logits)
    assert torch.allclose(weights[0, 0, :, 0, 0], torch.tensor([0, 0, 0, 0, .25, .75, 0, 0, 0]))
    assert torch.allclose(weights[0, 0, :, 0, 1], torch.tensor([0, 0, 0, .5, .5, 0, 0, 0, 0]))


@pytest.mark.parametrize('mode', ['softmax', 'relu_sum', 'abs_sum'])
@pytest.mark.parametrize('side,size', [(1, (2, 3)), (3, (4, 5)), (5, (3, 7)), (5, (1, 1))])
def test_weights_sum_to_one_inside(mode, side, size):
    logits = torch.randn(2, 3 * side**2, *size, generator=torch.Generator().manual_seed(0))
    weights = normalize_filling_weights(logits, side, mode)
    assert weights.shape == (2, 3, side**2, *size)
    assert (weights >= 0).all() and torch.allclose(weights.sum(2), torch.ones(2, 3, *size))
    inside = torch.nn.functional.unfold(torch.ones(1, 1, *size), side, padding=side // 2).view(side**2, *size)
    assert not (weights * (1 - inside)).any()


@pytest.mark.parametrize('mode', ['relu_sum', 'abs_sum'])
def test_sum_modes_by_value_and_at_zero(mode):
    logits = torch.tensor([-1., 3., 1.]).repeat(3).view(1, 9, 1, 1).expand(1, 9, 5, 5).clone()
    logits[..., 0, 0] = 0.
    logits.requires_grad_()
    weights = normalize_filling_weights(logits, 3, mode)
    column = {'relu_sum': [0., 3. / 12, 1. / 12], 'abs_sum': [1. / 15, 3. / 15, 1. / 15]}[mode]
    assert torch.allclose(weights[0, 0, :, 2, 2], torch.tensor(column).repeat(3))
    assert torch.allclose(weights[0, 0, :, 0, 0], torch.tensor([0, 0, 0, 0, .25, .25, 0, .25, .25]))
    weights.square().sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('num,images,index', [(1, 1, None), (3, 1, None), (3, 3, None), (4, 3, [2, 0, 2, 0])])
@pytest.mark.parametrize('side,size,steps', [(3, (4, 7), 6), (5, (3, 2), 4), (1, (2, 3), 3), (3, (1, 1), 3),
                                             (3, (1, 6), 5), (5, (6, 1), 2), (3, (4, 3), 1)])
def test_equals_the_loop(num, images, index, side, size, steps):
    index = None if index is None else torch.tensor(index)
    assert_equal_results(*random_case(num, images, 2, side, size), steps, index)


@pytest.mark.parametrize('block', [1, 45, 130])  # one plane of one instance; two instances of one plane; several planes
@pytest.mark.parametrize('steps', [1, 2, 7, 9])
@pytest.mark.parametrize('stretch', [0, 1, 2, 3, 9])  # from one kept step to the next; 0: as the memory allows
def test_blocks_and_kept_steps_do_not_show(block, steps, stretch, monkeypatch):
    monkeypatch.setitem(filling_kernel._BLOCK_VALUES, 'cpu', block)
    monkeypatch.setitem(filling_kernel._HISTORY_VALUES, 'cpu', block * 6)
    if stretch:
        monkeypatch.setattr(filling_kernel._Layout, 'stretch', lambda self, blocks, device: stretch)
    assert_equal_results(*random_case(5, 1, 7), steps)


def test_weights_outside_the_image_do_not_count():
    features, weights = random_case(2, 1, 2, 3, (3, 4))
    dirty = torch.where(weights == 0, 7., weights).requires_grad_()
    out = extent_filling(features, dirty, 4)
    assert torch.equal(out, extent_filling(features, weights, 4))
    out.sum().backward()
    assert (dirty.grad[weights == 0] == 0).all() and (dirty.grad[weights > 0] != 0).any()


@pytest.mark.parametrize('mode', ['softmax', 'relu_sum', 'abs_sum'])
def test_gradcheck(mode):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 1, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    # away from the kinks of relu and abs
    logits = torch.rand(1, 9, 2, 3, generator=generator, dtype=torch.float64) + .3
    logits[0, ::4] *= -1
    logits.requires_grad_()
    torch.autograd.gradcheck(
        lambda x, w: extent_filling(x, normalize_filling_weights(w, 3, mode), 3), (features, logits))


def test_features_alone_and_no_second_derivative():
    features, weights = random_case()
    features.requires_grad_()
    grads = [torch.autograd.grad(fill(features, weights, 5).square().sum(), features, create_graph=True)[0]
             for fill in (extent_filling, slow_filling)]
    assert torch.allclose(*grads)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grads[0].sum().backward()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    features, weights = (one.to(dtype).requires_grad_() for one in random_case(2, 1, 2, 3, (10, 10), torch.float32))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = extent_filling(features, weights, 10)
    assert out.dtype == dtype
    # rounded once, at the end: no error of ten rounded steps
    expected = slow_filling(features.float(), weights.float(), 10)
    assert ((out - expected).abs() <= expected.abs() * torch.finfo(dtype).eps + 1e-6).all()
    out.float().sum().backward()
    assert features.grad.dtype == weights.grad.dtype == dtype and weights.grad.isfinite().all()


@pytest.mark.parametrize('images, index', [(1, None), (1, []), (2, None)])
def test_no_instance_and_no_step(images, index):
    features, weights = random_case()
    assert torch.equal(extent_filling(features, weights, 0), features)
    index = None if index is None else torch.tensor(index, dtype=torch.long)
    out = extent_filling(features[:0].requires_grad_(), weights.expand(images, -1, -1, -1, -1), 3, index)
    assert out.shape == (0, 2, 4, 5)
    out.sum().backward()


def test_weights_are_not_copied_per_instance():
    features, weights = random_case(num=8, channels=2, size=(40, 40), dtype=torch.float32)
    with Seen() as seen:
        extent_filling(features.requires_grad_(), weights.requires_grad_(), 2).sum().backward()
    assert 0 < seen.largest < 8 * weights.numel() / 2


@pytest.mark.parametrize('change,message', [
    (dict(num_steps=-1), 'num_steps'), (dict(features=torch.zeros(3, 2, 4)), r'\(I, C, H, W\)'),
    (dict(features=torch.zeros(3, 2, 5, 5)), 'differ'), (dict(weights=torch.zeros(1, 2, 4, 4, 5)), 'r odd'),
    (dict(weights=torch.zeros(2, 2, 9, 4, 5)), 'image_index'), (dict(image_index=torch.tensor([0])), 'image_index'),
    (dict(image_index=torch.tensor([0, 1, 0])), r'\[0, 1\)')])
def test_errors(change, message):
    features, weights = random_case()
    with pytest.raises(ValueError, match=message):
        extent_filling(**{**dict(features=features, weights=weights, num_steps=2), **change})


@pytest.mark.parametrize('shape, side, mode, message', [
    ((1, 9, 2, 2), 3, 'sum', 'mode'), ((1, 8, 2, 2), 3, 'softmax', r'C\*9'), ((1, 4, 2, 2), 2, 'softmax', 'odd'),
    ((9, 2, 2), 3, 'softmax', r'\(B, C')])
def test_normalize_errors(shape, side, mode, message):
    with pytest.raises(ValueError, match=message):
        normalize_filling_weights(torch.zeros(shape), side, mode)
