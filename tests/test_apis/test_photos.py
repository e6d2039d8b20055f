"""Tags, one mask a region, and pictures; the command's tests have the files."""
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmiam.apis import photos


def test_tags_are_classes_in_any_case_and_by_any_of_their_names():
    classes = ('tench, Tinca tinca', 'tabby, tabby cat', 'dog')
    assert photos.labels_of(['Tabby cat', ' dog', 'tench, tinca tinca'], classes) == [1, 2, 0]
    for tag, message in (('tabbie', "'tabbie'.*did you mean tabby"), ('xylophone', 'tench')):
        with pytest.raises(ValueError, match=message):
            photos.labels_of([tag], classes)


def instances(*boxes, labels, scores):
    """Masks (20, 30) that fill boxes (x1, y1, x2, y2)."""
    masks = torch.zeros(len(boxes), 20, 30, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = True
    return InstanceData(masks=masks, labels=torch.tensor(labels), scores=torch.tensor(scores))


#: two masks of one region and two classes, one elsewhere, one of a low score
FOUR = instances((2, 2, 10, 10), (2, 2, 11, 10), (12, 12, 28, 18), (20, 0, 30, 2), labels=[0, 1, 0, 1],
                 scores=[.5, .9, .7, .1])
#: a small mask in a large one: of the same class a part of it, of another an object before it
NESTED = ((0, 0, 30, 20), (2, 2, 8, 8))


@pytest.mark.parametrize('given, settings, scores', [
    (FOUR, (.3, ), [.9, .7]), (FOUR, (), [.9, .7, .1]), (FOUR[:0], (), []),
    (FOUR, (.3, [0]), [.7, .5]),  # of the wanted classes alone: the other class must not push a mask out first
    (instances(*NESTED, labels=[1, 1], scores=[.6, .5]), (), [.6]),
    (instances(*NESTED, labels=[1, 2], scores=[.6, .5]), (), [.6, .5])])
def test_of_one_region_the_best_mask_stays(given, settings, scores):
    assert photos.one_a_region(given, *settings).scores.tolist() == pytest.approx(scores)


def test_pictures_are_of_bounded_size_with_percent(monkeypatch):
    seen = []
    draw = photos.overlay_instances
    monkeypatch.setattr(photos, 'overlay_instances', lambda *args, **settings: seen.append((args, settings)) or draw(
        *args, **settings))
    small = photos.draw_photo(np.zeros((20, 30, 3), np.uint8), FOUR, ('cat, house cat', 'dog'))
    assert small.shape == (20, 30, 3) and seen[0][0][2] == ['cat 50%', 'dog 90%', 'cat 70%', 'dog 10%']
    large = InstanceData(masks=torch.zeros(1, 3000, 2000, dtype=torch.bool), labels=torch.tensor([0]),
                         scores=torch.tensor([1.]))
    large.masks[0, 1500:] = True
    picture = photos.draw_photo(np.zeros((3000, 2000, 3), np.uint8), large, ('cat', ))
    assert picture.shape == (1600, 1067, 3) and not picture[:700].any() and picture[900:].any(2).all()
    assert seen[1][1]['label_size'] > 3 * seen[0][1]['label_size']  # legible when the picture is looked at as a whole
    assert photos.draw_photo(np.zeros((2000, 3000, 3), np.uint8), large[:0], ('cat', )).shape == (1067, 1600, 3)
