"""Connected regions: the way of a CPU and that of other devices against a flood fill."""
import pytest
import torch

from mmiam.models.postprocessors.regions import _regions_of_all, cue_region, label_regions

WAYS = pytest.mark.parametrize('keep', [cue_region, _regions_of_all], ids=['cpu', 'other'])


def flood(mask):
    """Regions (8 neighbors) as sets of (y, x)."""
    left, found = {tuple(place) for place in mask.nonzero().tolist()}, []
    while left:
        stack, region = [left.pop()], set()
        while stack:
            y, x = stack.pop()
            region.add((y, x))
            around = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            stack += around
        found.append(region)
    return found


def spiral(side):
    """A path of one pixel's width that turns inwards: the longest way for a label."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = True
    turns = 0
    while turns < 2:
        ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
        free = all(0 <= place < side for place in ahead) and not (
            all(0 <= place < side for place in beyond) and mask[beyond])
        if free:
            y, x = ahead
            mask[y, x], turns = True, 0
        else:
            dy, dx, turns = dx, -dy, turns + 1
    return mask


def random_masks():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 23, 31, generator=generator) < torch.linspace(.1, .6, 6)[:, None, None]
    masks[0] = False
    return masks, torch.rand(6, 23, 31, generator=generator, dtype=torch.float64)


def test_labels():
    masks = torch.cat([random_masks()[0], torch.nn.functional.pad(spiral(23), (0, 8))[None]])
    for mask, labels in zip(masks, label_regions(masks)):
        assert torch.equal(labels > 0, mask)
        regions = flood(mask)
        assert len(labels.unique()) == len(regions) + bool((~mask).any())
        for region in regions:
            assert {int(labels[place]) for place in region} == {max(y * 31 + x + 1 for y, x in region)}


@WAYS
def test_equals_flood_fill(keep):
    masks, cues = random_masks()
    for mask, cue, kept in zip(masks, cues, keep(masks, cues)):
        best = max(flood(mask), key=lambda region: sum(float(cue[place]) for place in region), default=set())
        assert {tuple(place) for place in kept.nonzero().tolist()} == best


@WAYS
def test_a_mask_without_its_cue_stays_and_none_is_fine(keep):
    masks, cues = random_masks()
    cues[masks] = 0
    assert torch.equal(keep(masks, cues), masks)
    assert cue_region(masks[:0], cues[:0]).shape == (0, 23, 31)


@WAYS
def test_a_cue_of_ones_keeps_the_largest(keep):
    mask = torch.zeros(1, 5, 9, dtype=torch.bool)
    mask[0, 0, :3] = mask[0, 2:4, 4:8] = True
    assert keep(mask, torch.ones(1, 5, 9))[0].sum() == 8
