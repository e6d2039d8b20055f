import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from nets import assert_empty, make_cues

from mmiam.models.baselines import ProposalRetrieval
from mmiam.proposals import SegmentProposals


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
