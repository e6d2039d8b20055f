import math

import pytest
import torch

from mmiam.models.fillers import keep_surer_maps, widen_cues
from mmiam.models.fillers.second_pass import certainty


def logit(value):
    return math.log(value / (1 - value))


def test_widened_cue_by_hand():
    """Cue of height 2 at the left; activations .2, .4, .8 at share .5 become .25, .5, 1 beside it."""
    maps = torch.tensor([[[2., 1.8, 0.]]])
    logits = torch.tensor([[[logit(.2), logit(.4), logit(.8)]]])
    assert torch.allclose(widen_cues(maps, logits, 0.5), torch.tensor([[[2., 1.8, 1.]]]))
    assert torch.allclose(widen_cues(maps, logits, 1.), torch.tensor([[[2., 1.8, 2.]]]))
    assert torch.equal(widen_cues(maps, logits, 0.), maps)


def test_certainty_by_hand():
    """Of .9, .7 and .5 the two above one half count; nothing above it is no certainty at all."""
    logits = torch.tensor([[[logit(.9), logit(.7), 0., -3.]], [[-1., -2., -3., 0.]]])
    assert torch.allclose(certainty(logits), torch.tensor([.8, 0.]))


def test_the_surer_map_stays_and_the_first_in_a_tie():
    first = torch.tensor([[[1., -1.]], [[1., -1.]], [[1., -5.]]])
    second = torch.tensor([[[2., -1.]], [[.5, .5]], [[1., 1.]]])
    assert torch.equal(keep_surer_maps(first, second), torch.stack([second[0], first[1], first[2]]))


def test_against_loops():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 6, 7, generator=generator, dtype=torch.float64)
    logits, others = torch.randn(2, 5, 6, 7, generator=generator, dtype=torch.float64)
    wider, chosen = widen_cues(maps, logits, 0.4), keep_surer_maps(logits, others)

    def slow_certainty(one):
        values = [1 / (1 + math.exp(-value)) for value in one.flatten().tolist() if value > 0]
        return sum(values) / len(values)

    for index in range(5):
        highest = max(1 / (1 + math.exp(-value)) for value in logits[index].flatten().tolist())
        for y in range(6):
            for x in range(7):
                activation = 1 / (1 + math.exp(-logits[index, y, x].item()))
                expected = max(maps[index, y, x].item(), 0.4 * maps[index].max().item() * activation / highest)
                assert wider[index, y, x].item() == pytest.approx(expected)
        better = slow_certainty(others[index]) > slow_certainty(logits[index])
        assert torch.equal(chosen[index], (others if better else logits)[index])


def test_no_instance():
    none = torch.zeros(0, 4, 4)
    assert widen_cues(none, none, 0.4).shape == keep_surer_maps(none, none).shape == (0, 4, 4)
