"""Connected regions: the way of a CPU and that of other devices against a flood fill."""
import pytest
import torch

from mmiam.models.postprocessors.regions import _keep_regions_of_all, keep_cue_region, label_regions

WAYS = pytest.mark.parametrize('keep', [keep_cue_region, _keep_regions_of_all], ids=['cpu', 'other'])


def flood(mask):
    """Regions (8 neighbors) of a mask (H, W) as sets of (y, x)."""
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


def random_masks():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 23, 31, generator=generator) < torch.linspace(.1, .6, 6)[:, None, None]
    masks[0] = False
    return masks, torch.rand(6, 23, 31, generator=generator, dtype=torch.float64)


def test_labels():
    snake = torch.zeros(1, 23, 31, dtype=torch.bool)  # a path of one pixel's width: the longest way for a label
    snake[:, ::2] = snake[:, 1::4, -1] = snake[:, 3::4, 0] = True
    masks = torch.cat([random_masks()[0], snake])
    for number, (mask, labels) in enumerate(zip(masks, label_regions(masks))):
        assert torch.equal(labels > 0, mask)
        regions = flood(mask)
        assert len(labels.unique()) == len(regions) + bool((~mask).any())
        for region in regions:
            assert {int(labels[place]) for place in region} == {
                number * 23 * 31 + max(y * 31 + x + 1 for y, x in region)}


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
    assert keep_cue_region(masks[:0], cues[:0]).shape == (0, 23, 31)
