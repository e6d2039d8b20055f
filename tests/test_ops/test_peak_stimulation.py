"""Peak stimulation: hand-made maps, ties, borders, filters and both gradients."""

import pytest
import torch
import torch.nn.functional as F
from support import HALF
from torch.autograd import gradcheck

from mmiam.ops.peak_stimulation import peak_stimulation

MAP = torch.tensor([
    [9., 1., 1., 1., 2.],
    [1., 1., 1., 1., 1.],
    [1., 1., 7., 1., 1.],
    [1., 1., 1., 1., 1.],
    [3., 1., 1., 1., 4.]])


def reference(response, win_size, peak_filter):
    """Peaks and scores by loops, independent of pooling."""
    batch, classes, height, width = response.shape
    mask = torch.zeros(response.shape, dtype=torch.bool)
    scores = torch.zeros(batch, classes, dtype=response.dtype)
    radius = win_size // 2
    for b in range(batch):
        for c in range(classes):
            plane = response[b, c]
            ordered = plane.flatten().sort().values
            threshold = {'median': ordered[(len(ordered) - 1) // 2], 'mean': plane.mean(), 'max': plane.max(),
                         None: torch.tensor(-torch.inf)}.get(peak_filter, peak_filter)
            found = []
            for y in range(height):
                for x in range(width):
                    window = [(plane[v, u].item(), -v, -u)
                              for v in range(max(0, y - radius), min(height, y + radius + 1))
                              for u in range(max(0, x - radius), min(width, x + radius + 1))]
                    # The largest value; among equals the topmost, then the leftmost.
                    if max(window)[1:] == (-y, -x) and plane[y, x] >= threshold:
                        mask[b, c, y, x] = True
                        found.append(plane[y, x])
            scores[b, c] = torch.stack(found).mean() if found else 0
    return scores, mask


@pytest.mark.parametrize('peak_filter, peaks', [
    # median 1: the four corners, of which each is the maximum of its in-image part, and the center
    ('median', {(0, 0): 9, (0, 4): 2, (2, 2): 7, (4, 0): 3, (4, 4): 4}), (3.5, {(0, 0): 9, (2, 2): 7, (4, 4): 4}),
    ('max', {(0, 0): 9})])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, HALF])
def test_hand_made_map(dtype, peak_filter, peaks):
    scores, mask = peak_stimulation(MAP[None, None].to(dtype), peak_filter=peak_filter)
    assert list(map(tuple, mask[0, 0].nonzero().tolist())) == list(peaks)
    assert scores.dtype == dtype and scores.item() == pytest.approx(sum(peaks.values()) / len(peaks), rel=5e-3)


@pytest.mark.parametrize('peak_filter', ['median', 'mean', 'max', None, 0.5, 9.])  # no peak above 9
@pytest.mark.parametrize('win_size', [1, 3, 5])
def test_equals_loops(win_size, peak_filter):
    generator = torch.Generator().manual_seed(win_size)
    response = torch.randint(-3, 4, (2, 3, 5, 6), generator=generator).double()
    scores, mask = peak_stimulation(response, win_size, peak_filter)
    expected_scores, expected_mask = reference(response, win_size, peak_filter)
    assert torch.equal(mask, expected_mask)
    assert torch.allclose(scores, expected_scores)


@pytest.mark.parametrize('peak_filter', ['median', 'mean', 'max', None, 3.5])
def test_nan_is_handed_on(peak_filter):
    """A map with NaN has no peak that can be trusted: its score is NaN, that of the map beside it is not."""
    response = torch.stack([MAP, MAP])[None].clone()
    response[0, 0, 3, 3] = torch.nan
    response.requires_grad_()
    scores, _ = peak_stimulation(response, peak_filter=peak_filter)
    assert scores[0, 0].isnan() and scores[0, 1].isfinite()
    assert F.multilabel_soft_margin_loss(scores, torch.zeros(1, 2)).isnan()


def test_gradients_by_hand():
    """Each peak has the whole gradient unless asked otherwise: thresholds of the literature rest on that."""
    out_grad = torch.tensor([[2.]])
    for kwargs, expected in ((dict(), 2.), (dict(grad_mode='official'), 2.), (dict(grad_mode='mean'), 2. / 5)):
        response = MAP[None, None].clone().requires_grad_()
        scores, mask = peak_stimulation(response, **kwargs)
        scores.backward(out_grad)
        assert torch.allclose(response.grad, mask * expected)


def test_gradcheck_of_mean():
    generator = torch.Generator().manual_seed(0)
    # Values far apart: the peaks stay where they are under gradcheck's perturbation.
    response = torch.randperm(2 * 2 * 4 * 5, generator=generator).double().view(2, 2, 4, 5).requires_grad_()
    assert gradcheck(lambda x: peak_stimulation(x, grad_mode='mean')[0], response)
    assert not gradcheck(lambda x: peak_stimulation(x)[0], response, raise_exception=False)


@pytest.mark.parametrize('kwargs, message', [
    (dict(win_size=2), 'odd'), (dict(peak_filter='mode'), 'peak_filter'), (dict(grad_mode='sum'), 'grad_mode'),
    (dict(response=MAP), 'B, C, H, W')])
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        peak_stimulation(**{**dict(response=MAP[None, None]), **kwargs})
