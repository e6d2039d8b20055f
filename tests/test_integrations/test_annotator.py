"""What the annotation tools share, with the published model."""
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmiam.integrations.annotator import Annotator, click, need, outlines
from mmiam.utils.images import read_image


@pytest.fixture(scope='module')
def annotator():
    return Annotator()


def test_a_tag_has_its_best_mask_however_unsure(annotator, photo, monkeypatch):
    image, (cat, dog) = read_image(photo('cat.png')), annotator.labels(['cat', 'unknown', 'dog'])
    assert set(annotator.masks(image, ['cat', 'unknown']).labels.tolist()) == {cat}
    monkeypatch.setattr('mmiam.integrations.annotator.TAGGED_MIN_SCORE', .9)
    guess, = annotator.masks(image, ['dog'])
    assert guess.labels == dog and guess.scores < 0.5 and dog not in annotator.masks(image).labels
    assert len(annotator.masks(image, ['dog'], min_score=.5)) == len(annotator.masks(image, ['unknown'])) == 0


def test_maps_on_request(photo):
    found = Annotator(maps=True).masks(read_image(photo('cat.png')), ['cat'])
    assert found.cams.shape == found.prms.shape == found.iams.shape and len(found.prms) == len(found) > 0


def test_points_and_boxes_show_one_object():
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, 0, 0] = masks[1, 3, 5] = True

    def session(prompts):  # as a PromptSession: of several masks it may keep one
        return InstanceData(masks=masks[prompts[0]['point'][0]][None])

    assert np.array_equal(click(session, [dict(point=(i, 0)) for i in range(3)]), masks.any(0).numpy())
    assert click(session, [dict(point=(2, 0))]) is click(session, []) is None


def test_outlines_have_few_points_at_the_centers_of_pixels():
    mask = np.zeros((20, 30), bool)
    mask[2:8, 3:11] = True
    outline, = outlines(mask)
    assert sorted(map(tuple, outline)) == [(3.5, 2.5), (3.5, 7.5), (10.5, 2.5), (10.5, 7.5)]
    mask[12:14, 20:22] = mask[2, 7] = True  # the second region, and a point that changes nothing
    assert [len(outline) for outline in outlines(mask)] == [4, 4]


def test_what_is_not_installed_is_named():
    with pytest.raises(ModuleNotFoundError, match='this needs nothing-at-all: pip install nothing-at-all'):
        need('nothing_at_all.part', 'nothing-at-all')
    assert need('json.decoder', 'json').JSONDecoder
