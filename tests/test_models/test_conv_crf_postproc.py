import functools

import pytest
import torch
from mmdet.structures import DetDataSample
from nets import assert_empty, logit, make_cues

from mmiam.models.postprocessors import ConvCRFPostProc


def rectangles(*boxes, size=(4, 6), inside=0.75, outside=0.25):
    """Logits of maps with one probability inside a box (x1, y1, x2, y2) and another one outside."""
    maps = torch.full((len(boxes), *size), logit(outside))
    for one, (x1, y1, x2, y2) in zip(maps, boxes):
        one[y1:y2, x1:x2] = logit(inside)
    return maps


class TestConvCRFPostProc:

    def run(self, cues, size=(4, 6), image=None, **kwargs):
        kwargs.setdefault('crf', None)
        image = torch.zeros(3, *size) if image is None else image
        return ConvCRFPostProc(**kwargs)(cues, image, DetDataSample())

    def test_threshold_box_and_score_by_hand(self):
        # two pixels of probability 0.9 and 0.6; 0.5 itself is not foreground
        maps = torch.full((1, 4, 6), logit(0.2))
        maps[0, 1, 2], maps[0, 2, 3], maps[0, 0, 0] = logit(0.9), logit(0.6), 0.
        scores = torch.tensor([logit(0.8), 5.])  # the second instance has an empty mask
        found = self.run(make_cues([7, 2], iams=torch.cat([maps, maps * 0 - 4]), class_scores=scores))
        expected = torch.zeros(1, 4, 6, dtype=torch.bool)
        expected[0, 1, 2] = expected[0, 2, 3] = True
        assert found.masks.equal(expected)
        assert found.bboxes.tolist() == [[2, 1, 4, 3]] and found.labels.tolist() == [7]
        assert found.scores.tolist() == pytest.approx([0.8 * (0.9 + 0.6) / 2])

    def test_the_region_of_the_cue(self):
        # two regions; the corner belongs to the second one, which holds 0.6 of the cue
        iams = rectangles((0, 0, 2, 4))
        iams[0, 0, 4] = iams[0, 1, 5] = logit(0.75)
        maps = torch.zeros(1, 4, 6)
        maps[0, 2, 0], maps[0, 0, 4], maps[0, 1, 5], maps[0, 3, 3] = 0.4, 0.3, 0.3, 5.
        cues = make_cues([0], iams=iams, maps=maps)
        assert self.run(cues).masks.sum() == 10
        assert self.run(cues, region='cue').masks[0].nonzero().tolist() == [[0, 4], [1, 5]]
        untouched = make_cues([0], iams=iams, maps=torch.zeros(1, 4, 6))
        assert self.run(untouched, region='cue').masks.sum() == 10
        assert_empty(self.run(make_cues([]), region='cue'), (4, 6))
        with pytest.raises(ValueError, match="region must be 'all' or 'cue'"):
            ConvCRFPostProc(region='largest')

    def test_the_two_labels_of_the_crf_tie_at_mask_thr(self):
        # a constant map on a constant image: no neighbor disagrees, only the threshold decides
        maps = torch.full((1, 8, 8), logit(0.7))
        for mask_thr, number in ((0.65, 1), (0.75, 0)):
            found = self.run(make_cues([0], iams=maps), size=(8, 8), crf={}, mask_thr=mask_thr)
            assert len(found) == number

    def test_the_crf_follows_the_colors(self):
        # the map ends one column before the edge of the image does
        image = torch.zeros(3, 16, 16)
        image[:, :, 8:] = 255
        maps = rectangles((0, 0, 7, 16), size=(16, 16), inside=0.9, outside=0.1)
        maps[:, :, 7] = logit(0.45)
        cues = make_cues([0], iams=maps)
        assert self.run(cues, image=image).masks[0].sum() == 7 * 16
        found = self.run(cues, image=image, crf=dict(blur=1, col_compat=20., pos_compat=0., weight=1.))
        assert found.masks[0, :, :8].all() and not found.masks[0, :, 8:].any()
        # the score stays the mean of the map itself
        assert found.scores.item() == pytest.approx(0.5 * (0.9 * 7 + 0.45) / 8, abs=1e-6)

    @pytest.mark.parametrize('crf', [None, {}])
    def test_all_background_and_no_cue_give_an_empty_result(self, crf):
        assert_empty(self.run(make_cues([1, 2], iams=torch.full((2, 4, 6), -4.)), crf=crf), (4, 6))
        assert_empty(self.run(make_cues([], size=(2, 3)), crf=crf), (4, 6))

    def test_duplicates(self):
        # the second overlaps the first by 12/16 = 0.75, its class is the first's; the third is the first, of another
        cues = make_cues([1, 1, 2], iams=rectangles((0, 0, 4, 4), (0, 0, 3, 4), (0, 0, 4, 4)),
                         class_scores=torch.tensor([3., 4., 2.]))
        assert self.run(cues).class_scores.tolist() == [4., 2.]
        assert self.run(cues, nms_iou=0.8).class_scores.tolist() == [4., 3., 2.]
        unsuppressed = self.run(cues, nms_iou=None)
        assert unsuppressed.class_scores.tolist() == [4., 3., 2.]
        assert unsuppressed.masks.flatten(1).sum(1).tolist() == [12, 16, 16]
        assert unsuppressed.scores.tolist() == pytest.approx(
            (torch.tensor([4., 3., 2.]).sigmoid() * 0.75).tolist())

    def test_max_side_bounds_the_crf_and_the_mask_is_enlarged(self, monkeypatch):
        from mmiam.models.postprocessors import conv_crf as module
        seen, crf = [], module.conv_crf

        @functools.wraps(crf)
        def spy(unary, image, **kwargs):
            seen.append((tuple(unary.shape), tuple(image.shape), image.max().item()))
            return crf(unary, image, **kwargs)

        monkeypatch.setattr(module, 'conv_crf', spy)
        cues = make_cues([0], iams=rectangles((0, 0, 16, 32), size=(32, 48)))
        image = torch.zeros(3, 32, 48)
        image[:, :, :16] = 200.
        found = self.run(cues, image=image, crf=dict(blur=1), max_side=24)
        assert seen == [((1, 2, 16, 24), (3, 16, 24), 200.)]
        expected = torch.zeros(32, 48, dtype=torch.bool)
        expected[:, :16] = True
        assert (found.masks[0] != expected).sum() <= 32  # a column at most
        self.run(cues, image=torch.zeros(3, 32, 48), crf={}, max_side=None)
        self.run(cues, image=torch.zeros(3, 32, 48), crf={}, max_side=48)
        assert [shape[1] for shape in seen[1:]] == [(3, 32, 48)] * 2
        thin = self.run(make_cues([0], iams=torch.full((1, 1, 40), 3.)), size=(1, 40), crf={}, max_side=8)
        assert thin.masks.shape == (1, 1, 40) and thin.masks.all()

    def test_class_evidence_and_temperature(self):
        cues = make_cues([0], iams=rectangles((0, 0, 2, 2), inside=0.75), class_scores=torch.tensor([logit(0.8)]),
                         peak_scores=torch.tensor([2 * logit(0.6)]))
        assert self.run(cues).scores.item() == pytest.approx(0.75 * 0.8)
        assert self.run(cues, class_evidence='peak', temperature=2.).scores.item() == pytest.approx(0.75 * 0.6)

    @pytest.mark.parametrize('kwargs, message', [
        (dict(mask_thr=0.), 'mask_thr .*got 0.0'), (dict(mask_thr=1.), 'mask_thr'),
        (dict(class_evidence='image'), "class_evidence must be .*got 'image'"),
        (dict(temperature=0.), 'temperature divides a logit and must be above 0, got 0')])
    def test_wrong_arguments(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            ConvCRFPostProc(**kwargs)
