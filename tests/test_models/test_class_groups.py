import pytest

from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.models.cues.class_groups import IMAGENET_VOC_RANGES, group_imagenet_classes, map_to_targets


def test_target_labels():
    assert map_to_targets(None, 3).tolist() == [0, 1, 2]
    assert map_to_targets('agnostic', 3).tolist() == [0, 0, 0]
    assert map_to_targets({1: [0, 2], 0: [3]}, 5).tolist() == [1, -1, 1, 0, -1]


def test_imagenet_groups():
    groups = group_imagenet_classes(('dog', 'person', 'cat'), offset=1)
    assert groups == {0: list(range(152, 270)), 2: list(range(282, 287))}  # 118 dogs, 5 cats, nobody
    labels = map_to_targets(dict(classes=VOC_CLASSES, offset=1), 1001)
    assert (labels == VOC_CLASSES.index('bird')).sum() == 59 and labels[0] == -1
    assert set(IMAGENET_VOC_RANGES) == set(VOC_CLASSES) - {'person'}


@pytest.mark.parametrize('groups, message', [
    ('all', 'groups must be None'), ({0: [5]}, r"groups\[0\]: class 5 is none of the classifier's 5"),
    ({0: [1], 2: [1]}, 'class 1 stands for 0 and for 2'), (dict(classes=('person', )), 'has ImageNet classes')])
def test_bad_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        map_to_targets(groups, 5)
