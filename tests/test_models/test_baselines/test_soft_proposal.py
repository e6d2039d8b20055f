import math

import pytest
import torch

from mmiam.models.baselines.soft_proposal import soft_proposal


def slow_walk(features, sigma_ratio, num_iters, tolerance):
    """One image (C, H, W), location by location."""
    _, height, width = features.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    sigma = sigma_ratio * math.sqrt(height * width)
    weight = [[float((features[:, p[0], p[1]] - features[:, q[0], q[1]]).norm())
               * math.exp(-((p[0] - q[0])**2 + (p[1] - q[1])**2) / (2 * sigma**2)) for q in places] for p in places]
    leaving = [sum(weight[p][q] for p in range(len(places))) for q in range(len(places))]
    walk = [1 / len(places)] * len(places)
    for _ in range(num_iters):
        step = [sum(weight[p][q] / leaving[q] * walk[q] for q in range(len(places))) for p in range(len(places))]
        if math.sqrt(sum((a - b)**2 for a, b in zip(step, walk))) < tolerance:
            break
        walk = step
    return torch.tensor(walk, dtype=torch.float64).view(height, width)


def test_three_locations_by_hand():
    # features 0, 0, 1 and no effect of distance: the first two are linked to the third only, by weight 1
    features = torch.tensor([0., 0., 1.], dtype=torch.float64).view(1, 1, 1, 3)

    def walk(num_iters):
        return soft_proposal(features, sigma_ratio=1e9, num_iters=num_iters)[0, 0].tolist()
    assert walk(0) == pytest.approx([1 / 3] * 3)
    assert walk(1) == pytest.approx([1 / 6, 1 / 6, 2 / 3])  # 1/3 of the mass is shared, 2/3 arrive
    assert walk(2) == pytest.approx([1 / 3] * 3)  # such a graph has no end
    assert walk(None) == pytest.approx([1 / 4, 1 / 4, 1 / 2])  # but a stationary distribution: the sums of weights


@pytest.mark.parametrize('num_iters, tolerance', [(1, 0.), (20, 1e-4), (20, 0.01)])
def test_equals_a_slow_walk(num_iters, tolerance):
    features = torch.randn(3, 4, 3, 5, generator=torch.manual_seed(0), dtype=torch.float64, requires_grad=True)
    found = soft_proposal(features, 0.3, num_iters, tolerance)
    assert not found.requires_grad
    for image, walk in zip(features, found):
        torch.testing.assert_close(walk, slow_walk(image, 0.3, num_iters, tolerance))


@pytest.mark.parametrize('num_iters', [20, None])
def test_equal_features_give_the_uniform_map(num_iters):
    torch.testing.assert_close(soft_proposal(torch.ones(2, 3, 2, 4), num_iters=num_iters), torch.full((2, 2, 4), 1 / 8))


@pytest.mark.parametrize('features, ratio, message', [
    (torch.zeros(3, 4, 4), 0.15, r'\(B, C, H, W\)'), (torch.zeros(1, 3, 4, 4), 0., 'positive')])
def test_bad_input(features, ratio, message):
    with pytest.raises(ValueError, match=message):
        soft_proposal(features, ratio)
