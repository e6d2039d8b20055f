import math

import pytest
import torch

from mmiam.models.heads import SoftmaxHead, group_sums


def head(**kwargs):
    return SoftmaxHead(num_classes=3, in_channels=2, sub_pixel=1, peak_filter=None, **kwargs)


def response():
    """One image, three classes on 3 x 3; means 1, 2 and 0; class 1 has peaks 9 at (0, 0) and 6 at (2, 2)."""
    maps = torch.zeros(1, 3, 3, 3)
    maps[0, 0, 1, 1] = 9.
    maps[0, 1, 0, 0], maps[0, 1, 2, 2], maps[0, 1, 0, 1] = 9., 6., 3.
    return maps


def test_peaks_of_the_most_probable_class_by_hand():
    scores, (cue, ) = head().find_cues(response())
    assert scores[0].tolist() == [1, 2, 0]
    assert cue.labels.tolist() == [1, 1] and cue.peaks.tolist() == [[0, 0], [2, 2]]
    assert cue.peak_scores.tolist() == [9, 6]
    probability = math.exp(2) / (math.exp(1) + math.exp(2) + 1)
    assert cue.class_scores.sigmoid().tolist() == pytest.approx([probability] * 2)
    assert head().find_cues(response() * 100)[1][0].class_scores.isfinite().all()  # certain


def test_which_classes_an_image_has():
    def labels(image_labels=None, **kwargs):
        return sorted(set(head(**kwargs).find_cues(response(), image_labels)[1][0].labels.tolist()))

    assert labels(top_k=2) == [0, 1] and labels(ignore=(1, )) == [0]
    assert labels(top_k=3, min_probability=.2) == [0, 1]  # probabilities .24, .67, .09
    assert labels(top_k=3, min_probability=.9) == []
    assert labels([[0, 2]]) == [0] and labels([[]]) == [] and labels([[1]], ignore=(1, )) == []
    assert labels([[0, 2]], top_k=9) == [0, 2]
    assert labels([[0, 2]], min_probability=.7) == [0]  # relative to the classes allowed: .73 and .27


def test_groups_are_chosen_by_the_sum_of_their_classes():
    """Means 2, 2.01 and 2.5: the first two classes are together the more probable."""
    maps = torch.zeros(1, 3, 3, 3)
    maps[0, 0, 1, 1], maps[0, 1, 0, 0], maps[0, 2, 2, 2] = 18., 18.1, 22.5

    def labels(groups, **kwargs):
        return head(targets=torch.tensor(groups), **kwargs).find_cues(maps)[1][0].labels.tolist()

    assert head().find_cues(maps)[1][0].labels.tolist() == [2]
    assert labels([4, 4, 0]) == [1] and labels([0, 1, 2]) == [2]
    assert sorted(labels([4, 4, 0], top_k=2)) == [1, 2] and labels([4, -1, -1], top_k=3) == [0]
    assert labels([4, 4, 0], min_probability=.9) == []
    assert head(targets=torch.tensor([4, 4, 0])).find_cues(maps, [[0, 2]])[1][0].labels.tolist() == [2]
    sums = group_sums(torch.tensor([[.24, .67, .09]]), torch.tensor([2, -1, 2]))
    torch.testing.assert_close(sums, torch.tensor([[0, 0, .33]]))


def test_it_does_not_train():
    with pytest.raises(RuntimeError, match='use PeakStimulationHead'):
        head().loss((torch.zeros(1, 2, 3, 3), ), torch.zeros(1, 3))
