import pytest
import torch
from mmdet.structures import DetDataSample
from nets import assert_empty, logit, make_cues

from mmiam.models.baselines import ClassMapThreshold


class TestClassMapThreshold:

    def two_regions(self):
        """Maximum 10: regions of (10, 5) and of (4), one pixel of 2 that is no more than a fifth."""
        cams = torch.full((4, 6), -3.)
        cams[1, 1], cams[1, 2], cams[3, 5], cams[0, 5] = 10., 5., 4., 2.
        return cams

    def test_two_regions(self):
        # two cues of class 3 share a map: its regions come once
        cams = torch.stack([self.two_regions()] * 2)
        cues = make_cues([3, 3], cams=cams, class_scores=torch.full((2, ), logit(0.8)))
        found = ClassMapThreshold()(cues, torch.zeros(3, 4, 6), DetDataSample())
        assert found.labels.tolist() == [3, 3]
        assert found.bboxes.tolist() == [[1, 1, 3, 2], [5, 3, 6, 4]]
        assert found.scores.tolist() == pytest.approx([0.8 * 0.75, 0.8 * 0.4])
        assert found.masks[0].nonzero().tolist() == [[1, 1], [1, 2]]
        assert found.masks[1].nonzero().tolist() == [[3, 5]]

    def test_threshold_class_evidence_and_temperature(self):
        cues = make_cues([3], cams=self.two_regions()[None], class_scores=torch.tensor([5.]),
                         peak_scores=torch.tensor([4 * logit(0.7)]))
        found = ClassMapThreshold(ratio=0.45, class_evidence='peak', temperature=4.)(
            cues, torch.zeros(3, 4, 6), DetDataSample())
        assert found.masks.sum() == 2 and found.scores.tolist() == pytest.approx([0.7 * 0.75])

    def test_nothing_marked_no_cue_and_wrong_arguments(self):
        with pytest.raises(ValueError, match='class_evidence'):
            ClassMapThreshold(class_evidence='both')
        for cues in (make_cues([1], cams=-torch.ones(1, 4, 6)), make_cues([])):
            assert_empty(ClassMapThreshold()(cues, torch.zeros(3, 8, 12), DetDataSample()), (8, 12))
