import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmiam.models.baselines import ClassMapThreshold, ProposalRetrieval
from mmiam.models.postprocessors import ConvCRFPostProc
from mmiam.proposals import SegmentProposals


def logit(probability):
    return float(np.log(probability / (1 - probability)))


def make_cues(labels, size=(4, 6), **fields):
    """Cues with class score 0 and peak score 0 (probability 0.5), where ``fields`` says nothing else."""
    n = len(labels)
    given = dict(class_scores=torch.zeros(n), peak_scores=torch.zeros(n), maps=torch.zeros(n, *size),
                 prms=torch.zeros(n, *size), cams=torch.zeros(n, *size), iams=torch.zeros(n, *size))
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), **{**given, **fields})


def rectangles(*boxes, size=(4, 6), inside=0.75, outside=0.25):
    """Logits of maps with one probability inside a box (x1, y1, x2, y2) and another one outside."""
    maps = torch.full((len(boxes), *size), logit(outside))
    for one, (x1, y1, x2, y2) in zip(maps, boxes):
        one[y1:y2, x1:x2] = logit(inside)
    return maps


def assert_empty(found, size):
    assert len(found) == 0
    assert found.masks.shape == (0, *size) and found.masks.dtype == torch.bool
    assert found.scores.shape == (0, ) and found.scores.dtype == torch.float32
    assert found.bboxes.shape == (0, 4) and found.bboxes.dtype == torch.float32
    assert found.labels.shape == (0, ) and found.labels.dtype == torch.long


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


def slow_contour(mask, size):
    """A pixel whose window, cut at the border, holds both foreground and background."""
    out, r = np.zeros_like(mask), size // 2
    for y, x in np.ndindex(*mask.shape):
        window = mask[max(y - r, 0):y + r + 1, max(x - r, 0):x + r + 1]
        out[y, x] = window.any() and not window.all()
    return out


def slow_values(prm, cam, masks, alpha, beta, tau, contour_size, area_range):
    """alpha <M, S> + <M, contour(S)> - beta <B, S> of every mask, and <M, S>."""
    response = F.interpolate(torch.from_numpy(cam)[None, None], prm.shape, mode='bilinear')[0, 0].numpy()
    response = (response - response.min()) / (response.max() - response.min())
    background = response < tau * response.mean()
    values = []
    for mask in masks:
        value = (alpha * prm[mask].sum() + prm[slow_contour(mask, contour_size)].sum()
                 - beta * background[mask].sum())
        values.append(value if area_range[0] <= mask.mean() < area_range[1] else -np.inf)
    return np.array(values), np.array([prm[mask].sum() for mask in masks])


H, W = 8, 10  # of the maps; the image is twice as large


@pytest.fixture
def block_proposals():
    """Nine unions of random superpixels, of constant 2 x 2 blocks: either way of sampling gives the same half size."""
    rng = np.random.default_rng(1)
    maps = [np.kron(rng.integers(0, 5, (H // 2, W // 2)), np.ones((4, 4), int)) for _ in range(2)]
    maps[0][maps[0] == 0] = 1  # label 0 of level 0 is empty, and so is the proposal of it alone
    members = [rng.random((4, 5)) < 0.5, rng.random((5, 5)) < 0.5]
    members[0][0] = [True, False, False, False, False]
    members[1][1] = True  # the whole image
    return SegmentProposals(maps, members)


def with_proposals(proposals, **meta):
    sample = DetDataSample(metainfo=meta)
    if proposals is not None:
        sample.set_field(proposals, 'segment_proposals')
    return sample


def random_cues(n=5):
    generator = torch.Generator().manual_seed(0)
    prms = torch.rand(n, H, W, generator=generator)**6
    return make_cues(range(n), prms=prms / prms.sum((1, 2), keepdim=True),
                     cams=torch.randn(n, H // 2, W // 2, generator=generator),
                     class_scores=torch.randn(n, generator=generator))


class TestProposalRetrieval:

    @pytest.mark.parametrize('score', ['class', 'match'])
    @pytest.mark.parametrize('kwargs', [
        {}, dict(alpha=3., beta=0.05, tau=1.2), dict(alpha=0.1, contour_size=3), dict(area_range=(0., 2.)),
        dict(area_range=(0.3, 0.5)), dict(max_proposals=4), dict(max_proposals=100)])
    def test_against_a_dense_slow_reference(self, block_proposals, kwargs, score):
        cues = random_cues()
        image = torch.zeros(3, 2 * H, 2 * W)
        found = ProposalRetrieval(score=score, nms_iou=None, **kwargs)(cues, image, with_proposals(block_proposals))
        large = block_proposals.masks()[:kwargs.get('max_proposals')]
        settings = dict(alpha=0.8, beta=1e-5, tau=0.95, contour_size=5, area_range=(2e-5, 0.85))
        settings.update({name: value for name, value in kwargs.items() if name in settings})
        expected = {}
        for i, (prm, cam, logits) in enumerate(zip(cues.prms, cues.cams, cues.class_scores)):
            values, mass = slow_values(prm.double().numpy(), cam.double().numpy(), large[:, ::2, ::2], **settings)
            best = values.argmax()
            second = np.sort(values[np.isfinite(values)])[-2]
            assert values[best] - second > 1e-4  # the case decides clearly
            expected[i] = (large[best], max(values[best], 0) / (1 + settings['alpha']) if score == 'match' else
                           mass[best] * float(logits.sigmoid()))
            assert expected[i][1] <= 1
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
        assert sorted(found.labels.tolist()) == sorted(expected)
        for label, mask, value in zip(found.labels.tolist(), found.masks.numpy(), found.scores.tolist()):
            assert np.array_equal(mask, expected[label][0])
            assert value == pytest.approx(expected[label][1], abs=1e-5)

    def test_the_background_decides(self):
        # the map lies in both halves alike, the class is seen in the left one only
        labels = np.zeros((4, 8), int)
        labels[:, 4:] = 1
        proposals = SegmentProposals([labels], [np.array([[0, 1], [1, 0]], bool)])
        cams = torch.zeros(1, 4, 8)
        cams[..., :4] = 1.
        cues = make_cues([0], size=(4, 8), prms=torch.full((1, 4, 8), 1 / 32), cams=cams)
        image = torch.zeros(3, 4, 8)
        for beta, index in ((0., 0), (1e-5, 1)):
            found = ProposalRetrieval(beta=beta)(cues, image, with_proposals(proposals))
            assert np.array_equal(found.masks.numpy(), proposals.masks([index]))
            assert found.scores.item() == pytest.approx(0.5 * 0.5)

    def test_nothing_to_retrieve(self, block_proposals):
        image = torch.zeros(3, 2 * H, 2 * W)
        empty = SegmentProposals.empty((2 * H, 2 * W))
        assert_empty(ProposalRetrieval()(random_cues(), image, with_proposals(empty)), (2 * H, 2 * W))
        assert_empty(ProposalRetrieval()(random_cues(5)[:0], image, with_proposals(block_proposals)), (2 * H, 2 * W))
        nothing_fits = ProposalRetrieval(area_range=(0.9, 0.91))
        assert_empty(nothing_fits(random_cues(), image, with_proposals(block_proposals)), (2 * H, 2 * W))

    def test_errors(self, block_proposals):
        image = torch.zeros(3, 2 * H, 2 * W)
        with pytest.raises(ValueError, match=r'images/a\.jpg: .*LoadSegmentProposals'):
            ProposalRetrieval()(random_cues(), image, with_proposals(None, img_path='images/a.jpg'))
        with pytest.raises(ValueError, match=r'images/a\.jpg: proposals are \(8, 10\), the image is \(16, 20\)'):
            ProposalRetrieval()(random_cues(), image,
                                with_proposals(block_proposals.resize((H, W)), img_path='images/a.jpg'))
        with pytest.raises(ValueError, match="score must be .*got 'best'"):
            ProposalRetrieval(score='best')


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
