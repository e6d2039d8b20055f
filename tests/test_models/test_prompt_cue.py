import math

import pytest
import torch
from mmdet.structures import DetDataSample

from mmiam.models.cues import PromptCue, simulate_prompts
from mmiam.models.cues.blobs import POINT_SIGMA


def sample(prompts=None, ori=(40, 60), size=(20, 30), **meta):
    meta = dict(img_path='a.jpg', ori_shape=ori, img_shape=size) | meta
    return DetDataSample(metainfo=meta if prompts is None else dict(meta, prompts=prompts))


def run(prompts, padded=(24, 32), **kwargs):
    found = PromptCue()(Network(), torch.zeros(1, 3, *padded), [sample(prompts, **kwargs)])
    assert found[:2] == ('feats', 'scores')
    return found.cues[0]


class Network:
    """Stands for the network around the cue."""

    def classify(self, images):
        return 'feats', 'scores'


def slow_gaussian(x, y, sigma_x, sigma_y, size, box):
    """Values relative to the highest, pixel by pixel."""
    values = [[math.exp(-.5 * ((j + .5 - x) / sigma_x)**2 - .5 * ((i + .5 - y) / sigma_y)**2)
               if box[0] <= j + .5 < box[2] and box[1] <= i + .5 < box[3] else 0. for j in range(size[1])]
              for i in range(size[0])]
    return torch.tensor(values) / max(map(max, values))


def test_a_point_against_a_loop():
    """The image came as 40 x 60 pixels, is 20 x 30 in the input and padded to 24 x 32: half the coordinates."""
    cue = run([dict(point=(21, 33))])
    sigma = POINT_SIGMA * math.sqrt(40 * 60) / 2
    expected = slow_gaussian(10.5, 16.5, sigma, sigma, (24, 32), (0, 0, 30, 20))
    torch.testing.assert_close(cue.cams[0], expected)
    torch.testing.assert_close(cue.maps[0], expected)
    assert cue.peaks.tolist() == [[16, 10]] and cue.labels.tolist() == [0]
    assert not cue.maps[0, 20:].any() and not cue.maps[0, :, 30:].any()


def test_a_box_against_a_loop():
    cue = run([dict(box=(8, 4, 28, 12), label=3)])
    expected = slow_gaussian(9, 4, 2.5, 1, (24, 32), (4, 2, 14, 6))
    torch.testing.assert_close(cue.cams[0], expected)
    assert cue.labels.tolist() == [3] and cue.maps[0].max() == 1


def test_form_order_and_none():
    cue = run([dict(point=(5, 5), label=2), dict(box=(0, 0, 60, 40)), dict(point=(60, 40))])
    assert cue.labels.tolist() == [2, 0, 0] and cue.maps.shape == cue.cams.shape == (3, 24, 32)
    assert cue.class_scores.shape == cue.peak_scores.shape == (3, ) and cue.peaks.shape == (3, 2)
    assert cue.peaks[2].tolist() == [19, 29]  # the last pixel of the image
    empty = run([])
    assert len(empty) == 0 and empty.maps.shape == (0, 24, 32) and empty.peaks.shape == (0, 2)


def test_boxes_are_cut_at_the_border_and_tiny_ones_hit_a_pixel():
    assert torch.equal(run([dict(box=(-20, 0, 20, 40))]).maps, run([dict(box=(0, 0, 20, 40))]).maps)
    tiny = run([dict(box=(10.1, 10.1, 10.2, 10.2))])
    assert tiny.maps[0].nonzero().tolist() == [[5, 5]]


@pytest.mark.parametrize('direction, peak', [('horizontal', [2, 26]), ('vertical', [17, 3]), ('diagonal', [17, 26])])
def test_mirrored_samples(direction, peak):
    prompts = [dict(point=(7, 5)), dict(box=(2, 0, 12, 10))]  # (3.5, 2.5) and (1, 0, 6, 5) in the input
    plain, flipped = run(prompts), run(prompts, flip=True, flip_direction=direction)
    axes = dict(horizontal=[2], vertical=[1], diagonal=[1, 2])[direction]
    torch.testing.assert_close(flipped.cams[:, :20, :30], plain.cams[:, :20, :30].flip(axes))
    assert plain.peaks[0].tolist() == [2, 3] and flipped.peaks[0].tolist() == peak


@pytest.mark.parametrize('prompt, message', [
    (dict(point=(61, 5)), r'point \(61.0, 5.0\) lies outside'), (dict(point=(5, -1)), 'lies outside'),
    (dict(point=(5, )), 'expected 2 finite numbers'), (dict(point=(5, float('nan'))), 'expected 2 finite numbers'),
    (dict(point='ab'), 'expected 2 finite numbers'), (dict(box=(70, 0, 80, 9)), 'is empty inside the image'),
    (dict(box=(9, 9, 3, 20)), 'is empty'), (dict(), 'expected dict'), ((3, 4), 'expected dict'),
    (dict(point=(1, 1), box=(0, 0, 2, 2)), 'expected dict')])
def test_bad_prompts_name_image_and_prompt(prompt, message):
    with pytest.raises(ValueError, match=f'a.jpg: prompt 1: .*{message}'):
        run([dict(point=(1, 1)), prompt])


def test_a_sample_without_prompts_says_what_to_do():
    with pytest.raises(KeyError, match="a.jpg has no 'prompts': use mmiam.apis.PromptSession"):
        run(None)


# ------------------------------------------------------------------------------------------------------- simulated ones
def blocks(*boxes, size=(24, 32)):
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = True
    return masks


def test_simulated_points_lie_inside_of_their_mask():
    """The ring's middle is in no mask; every pixel of a mask is a point sooner or later."""
    torch.manual_seed(0)
    ring = blocks((4, 4, 8, 8)) & ~blocks((5, 5, 7, 7))
    masks = torch.cat([ring, blocks((20, 2, 22, 20))])
    seen = [set(), set()]
    sigma = POINT_SIGMA * math.sqrt(24 * 32)
    for _ in range(150):
        for one, mask, places in zip(simulate_prompts(masks, box_ratio=0.), masks, seen):
            (y, x), = (one == 1).nonzero().tolist()
            assert mask[y, x]
            places.add((y, x))
            torch.testing.assert_close(one, slow_gaussian(x + .5, y + .5, sigma, sigma, (24, 32), (0, 0, 32, 24)))
    assert len(seen[0]) == 12 and len(seen[1]) > 30


def test_simulated_boxes_are_those_of_the_cue():
    """The box around a mask with a hole and a notch: the very map that a user's box gives, zero outside."""
    mask = blocks((6, 3, 18, 13)) & ~blocks((6, 3, 9, 6))
    found, = simulate_prompts(mask, box_ratio=1.)
    expected = run([dict(box=(6, 3, 18, 13))], ori=(24, 32), size=(24, 32)).maps[0]
    torch.testing.assert_close(found, expected)
    assert not found[~blocks((6, 3, 18, 13))[0]].any() and (found[3:13, 6:18] > 0).all()


def test_the_ratio_of_boxes():
    torch.manual_seed(0)
    maps = simulate_prompts(blocks((0, 0, 8, 8)).expand(400, -1, -1), box_ratio=.3)
    assert 80 < sum(not one[8:].any() and not one[:, 8:].any() for one in maps) < 160
