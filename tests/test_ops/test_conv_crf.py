"""ConvCRF against sums over pairs of pixels and against the steps of the public code written out."""
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from support import Seen

from mmiam.ops.conv_crf import conv_crf

KERNELS, CRF = sys.modules['mmiam.ops.conv_crf.kernels'], sys.modules['mmiam.ops.conv_crf.crf']


def random_case(num=2, labels=2, size=(5, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    unary = torch.randn(num, labels, *size, generator=generator, dtype=torch.float64) * 2
    # gray levels close enough for the color kernel to matter
    image = 120 + 15 * torch.randn(3, *size, generator=generator, dtype=torch.float64)
    return unary, image


def kernel(positions, colors, i, j, pos_sigma, pos_compat, col_sigma, col_compat):
    pos = sum((a - b)**2 for a, b in zip(positions[i], positions[j]))
    col = sum((a - b)**2 for a, b in zip(colors[i], colors[j]))
    return pos_compat * math.exp(-pos / 2 / pos_sigma**2) + col_compat * math.exp(-col / 2 / col_sigma**2)


def slow_cells(length, blur):
    """Pixels of each cell along one axis."""
    cells = -(-length // blur)
    start = -math.ceil((cells * blur - length) / 2)
    return [[p for p in range(start + c * blur, start + (c + 1) * blur) if 0 <= p < length] for c in range(cells)]


def slow_crf(unary, image, kernel_size, blur, num_iters, mode, weight, unary_weight, **constants):
    """Pairs of cells one by one; pooling as means of lists; bilinear upsampling by the general function."""
    num, labels, height, width = unary.shape
    rows, cols = slow_cells(height, blur), slow_cells(width, blur)
    h, w, span = len(rows), len(cols), kernel_size // 2
    pool = lambda x: torch.stack([torch.stack([x[..., r, :][..., c].mean((-2, -1)) for c in cols], -1)  # noqa: E731
                                  for r in rows], -2)
    cells = [(y, x) for y in range(h) for x in range(w)]
    positions = {(y, x): (sum(rows[y]) / len(rows[y]), sum(cols[x]) / len(cols[x])) for y, x in cells}
    colors = {(y, x): pool(image)[:, y, x].tolist() for y, x in cells}
    logp = unary.log_softmax(1)
    q = logp if mode == 'reference' else logp.exp()
    for _ in range(num_iters):
        small, message = pool(q), torch.zeros(num, labels, h, w, dtype=unary.dtype)
        for y, x in cells:
            for v, u in cells:
                near = abs(y - v) <= span and abs(x - u) <= span
                if near and (mode == 'reference' or (y, x) != (v, u)):
                    message[..., y, x] += kernel(positions, colors, (y, x), (v, u), **constants) * small[..., v, u]
        message = F.interpolate(message, scale_factor=blur, mode='bilinear', align_corners=False)
        top, left = (math.ceil((n * blur - size) / 2) for n, size in ((h, height), (w, width)))
        message = message[..., top:top + height, left:left + width]
        scale = unary_weight - weight if mode == 'reference' else unary_weight
        q = (scale * logp + weight * message).softmax(1)
    return q if num_iters else logp.exp()


def test_two_pixels_by_hand():
    # colors one sigma apart, positions one pixel apart
    image = torch.tensor([[[100., 113.]], [[50., 50.]], [[7., 7.]]], dtype=torch.float64)
    log_odds = torch.tensor([1.5, -.25], dtype=torch.float64)
    unary = torch.stack([torch.zeros(2, dtype=torch.float64), log_odds])[None, :, None]
    k = 3 * math.exp(-1 / 18) + 10 * math.exp(-.5)
    # the public code's first step: (1 - .2) log p + .2 (13 log p_i + k log p_j)
    z = .8 * log_odds + .2 * (13 * log_odds + k * log_odds.flip(0))
    out = conv_crf(unary, image, 3, blur=1, num_iters=1)
    assert torch.allclose(out[0, 1, 0], z.sigmoid()) and torch.allclose(out.sum(1), torch.ones_like(out[:, 0]))
    # its second step passes probabilities
    p = z.sigmoid()
    z = .8 * log_odds + .2 * (13 * (2 * p - 1) + k * (2 * p.flip(0) - 1))
    assert torch.allclose(conv_crf(unary, image, 3, blur=1, num_iters=2)[0, 1, 0], z.sigmoid())
    # the equations: log p + .2 k Q_j, without the pixel itself
    p = log_odds.sigmoid()
    z = log_odds + .2 * k * (2 * p.flip(0) - 1)
    out = conv_crf(unary, image, 3, blur=1, num_iters=1, mode='mean_field')
    assert torch.allclose(out[0, 1, 0], z.sigmoid())


@pytest.mark.parametrize('mode', ['reference', 'mean_field'])
@pytest.mark.parametrize('labels', [1, 2, 3])
@pytest.mark.parametrize('size', [(1, 1), (1, 5), (6, 7)])
@pytest.mark.parametrize('blur,kernel_size,num_iters',
                         [(1, 3, 2), (2, 3, 3), (3, 5, 1), (4, 7, 5), (2, 1, 2), (4, 3, 0)])
def test_equals_pairs_of_pixels(mode, labels, size, blur, kernel_size, num_iters):
    unary, image = random_case(2, labels, size)
    constants = dict(pos_sigma=2., pos_compat=1.5, col_sigma=20., col_compat=4., weight=.3, unary_weight=.7)
    fast = conv_crf(unary, image, kernel_size, blur, num_iters, mode=mode, **constants)
    slow = slow_crf(unary, image, kernel_size, blur, num_iters, mode, **constants)
    assert fast.dtype == torch.float64 and torch.allclose(fast, slow, rtol=1e-9, atol=1e-11)


def assert_unchanged(num, labels, mode, blur, module, **limits):
    """Results are the same with other limits of a module."""
    unary, image = random_case(num, labels, (11, 13))
    whole = conv_crf(unary, image, blur=blur, mode=mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CRF, 'num_workers', lambda device: 2)
        for name, value in limits.items():
            patch.setattr(module, name, dict(cpu=value) if name != '_PART_VALUES' else value)
        assert torch.allclose(conv_crf(unary, image, blur=blur, mode=mode), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('blur', [1, 2])
@pytest.mark.parametrize('run', [1, 300, 10**9])
@pytest.mark.parametrize('strip,kept', [(1, 0), (1, 10**9), (90, 0), (10**9, 0)])
def test_strips_and_runs_do_not_show(blur, strip, kept, run):
    assert_unchanged(2, 2, 'reference', blur, KERNELS, _STRIP_VALUES=strip, _RUN_VALUES=run, _KEPT_VALUES=kept)


@pytest.mark.parametrize('mode', ['reference', 'mean_field'])
@pytest.mark.parametrize('labels', [2, 3])
@pytest.mark.parametrize('pixels,part', [(1, 1), (300, 1), (1, 10**9)])
def test_shares_of_instances_do_not_show(mode, labels, pixels, part):
    assert_unchanged(5, labels, mode, 2, CRF, _PIXEL_VALUES=pixels, _PART_VALUES=part)


@pytest.mark.parametrize('size', [(24, 25), (240, 250)])  # kernels kept for all iterations, and computed anew
def test_one_filter_bank_for_all_instances_and_no_copies_of_the_window(size, monkeypatch):
    monkeypatch.setattr('mmiam.ops.parallel.num_workers', lambda device: 1)  # in this thread, where it is seen
    unary, image = (case.float() for case in random_case(5, 2, size))
    window = 7**2 * image[0].numel()
    seen = []
    for num in (1, 5):
        with Seen() as mode:
            conv_crf(unary[:num], image, 7, blur=1)
        seen.append(mode)
    # each kernel serves both directions: half of the window, and more where strips of rows overlap
    assert window / 3 < seen[0].exponentials
    assert seen[1].exponentials < (1.1 if size == (24, 25) else 2) * seen[0].exponentials
    assert 0 < seen[1].largest < window  # F.unfold of one instance has two of them


@pytest.mark.parametrize('mode', ['reference', 'mean_field'])
@pytest.mark.parametrize('num_iters', [0, 1])
def test_arguments_stay_and_any_number_of_instances(mode, num_iters):
    unary, image = random_case(2, 2, (5, 6))
    before = unary.clone(), image.clone()
    conv_crf(unary, image, blur=1, num_iters=num_iters, mode=mode)
    assert torch.equal(unary, before[0]) and torch.equal(image, before[1])
    assert conv_crf(unary[:0], image, mode=mode).shape == (0, 2, 5, 6)
    unary, image = unary.half(), image.round().clamp(0, 255).byte()
    out, exact = (conv_crf(*case, num_iters=num_iters, mode=mode) for case in (
        (unary, image), (unary.double(), image.double())))
    assert out.dtype == torch.float32 and torch.allclose(out, exact.float(), atol=1e-5)


@pytest.mark.parametrize('change,message', [
    (dict(mode='dense'), 'mode'), (dict(kernel_size=4), 'kernel_size'), (dict(blur=0), 'blur'),
    (dict(num_iters=-1), 'num_iters'), (dict(image=torch.zeros(3, 5, 5)), 'same size'),
    (dict(image=torch.zeros(1, 3, 5, 6)), 'same size'), (dict(unary=torch.zeros(1, 0, 5, 6)), 'label'),
])
def test_errors(change, message):
    unary, image = random_case()
    with pytest.raises(ValueError, match=message):
        conv_crf(**{**dict(unary=unary, image=image), **change})
