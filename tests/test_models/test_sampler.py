import inspect

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmiam.models.samplers import ProposalPseudoGTSampler
from mmiam.proposals import SegmentProposals

SIZE = (8, 12)


def proposals_of(*boxes, size=SIZE):
    """A proposal for each box (x1, y1, x2, y2), each on a label map of its own."""
    maps = []
    for x1, y1, x2, y2 in boxes:
        maps.append(np.zeros(size, int))
        maps[-1][y1:y2, x1:x2] = 1
    return SegmentProposals(maps, [np.array([[0, 1]], bool)] * len(boxes))


def maps_of(*boxes, size=SIZE):
    """Maps that spread a mass of 1 over a box."""
    maps = torch.zeros(len(boxes), *size)
    for one, (x1, y1, x2, y2) in zip(maps, boxes):
        one[y1:y2, x1:x2] = 1 / ((x2 - x1) * (y2 - y1))
    return maps


def cues_of(maps, cams=None):
    return InstanceData(prms=maps) if cams is None else InstanceData(prms=maps, cams=cams)


def lists(candidates):
    return [one.tolist() for one in candidates]


LEFT, RIGHT = (0, 0, 4, 4), (8, 4, 12, 8)


class TestCandidates:

    def test_hand_picked(self):
        # with 1 x 1 windows there is no contour: the score is 0.8 times the mass inside
        proposals = proposals_of((8, 4, 12, 6), LEFT, (0, 0, 4, 3), (8, 4, 12, 8), (0, 0, 4, 1), (5, 0, 7, 8))
        sampler = ProposalPseudoGTSampler(num_candidates=3, contour_size=1)
        # masses left: 0, 1, 3/4, 0, 1/4, 0; right: 1/2, 0, 0, 1, 0, 0; third for the right map is the first zero,
        # which the left map's mass keeps
        assert lists(sampler.candidates(cues_of(maps_of(LEFT, RIGHT)), proposals)) == [[1, 2, 4], [3, 0, 1]]
        # the mass of its own map must reach the threshold now
        own = ProposalPseudoGTSampler(num_candidates=3, contour_size=1, overlap_rule='own')
        assert lists(own.candidates(cues_of(maps_of(LEFT, RIGHT)), proposals)) == [[1, 2, 4], [3, 0]]
        strict = ProposalPseudoGTSampler(num_candidates=3, contour_size=1, overlap_rule='own', overlap_thr=0.6)
        assert lists(strict.candidates(cues_of(maps_of(LEFT, RIGHT)), proposals)) == [[1, 2], [3]]
        few = ProposalPseudoGTSampler(num_candidates=1, contour_size=1)
        assert lists(few.candidates(cues_of(maps_of(LEFT, RIGHT)), proposals)) == [[1], [3]]

    def test_min_score_leaves_maps_without_a_good_candidate_empty(self):
        proposals = proposals_of((8, 4, 12, 6), LEFT, (0, 0, 4, 3), (5, 0, 7, 8))
        maps = maps_of(LEFT, RIGHT)  # scores of the left map 0, 0.8, 0.6, 0; of the right one 0.4, 0, 0, 0
        options = dict(num_candidates=2, contour_size=1, overlap_rule='own')
        for min_score, expected in ((None, [[1, 2], [0]]), (0.39, [[1, 2], [0]]), (0.5, [[1, 2], []]), (0.7, [[1], []]),
                                    (0.9, [[], []])):
            sampler = ProposalPseudoGTSampler(**options, min_score=min_score)
            assert lists(sampler.candidates(cues_of(maps), proposals)) == expected

    def test_class_map_weight_adds_the_iou_with_its_region(self):
        proposals = proposals_of(LEFT, (0, 0, 8, 4))
        maps = maps_of(LEFT)  # masses 1, 1: a tie at 0.8, which the first wins
        cams = torch.full((1, *SIZE), -1.)
        cams[:, :4, :6] = 4.  # IoU 16 / 24 with the first, 24 / 32 with the second
        cams[:, :4, 8:] = 1.9  # below half of the maximum
        options = dict(num_candidates=2, contour_size=1, area_range=(0., 1.))
        assert lists(ProposalPseudoGTSampler(**options).candidates(cues_of(maps, cams), proposals)) == [[0, 1]]
        sampler = ProposalPseudoGTSampler(**options, class_map_weight=1.)
        assert lists(sampler.candidates(cues_of(maps, cams), proposals)) == [[1, 0]]
        assert lists(sampler.candidates(cues_of(maps, -cams.abs()), proposals)) == [[0, 1]]  # nowhere positive
        # 24/32 - 16/24 = 1/12 is worth a rank weight of as much
        for rank_weight, expected in ((0.08, [1, 0]), (0.09, [0, 1])):
            both = ProposalPseudoGTSampler(**options, class_map_weight=1., rank_weight=rank_weight)
            assert lists(both.candidates(cues_of(maps, cams), proposals)) == [expected]
        with pytest.raises(ValueError, match='class_map_weight needs class response maps'):
            sampler.candidates(cues_of(maps), proposals)

    def test_alpha_weighs_extent_against_contour(self):
        # a mass of one pixel: on the contour of the small proposal with its 3 x 3 window, inside of the large one
        proposals = proposals_of((4, 3, 5, 4), (3, 2, 8, 7))
        maps = maps_of((5, 3, 6, 4), (5, 4, 6, 5))
        only_contour = ProposalPseudoGTSampler(num_candidates=1, alpha=0., contour_size=3, overlap_thr=0.)
        only_extent = ProposalPseudoGTSampler(num_candidates=1, alpha=9., contour_size=3, overlap_thr=0.)
        assert lists(only_contour.candidates(cues_of(maps), proposals)) == [[0], [0]]
        assert lists(only_extent.candidates(cues_of(maps), proposals)) == [[1], [1]]

    def test_area_range(self):
        proposals = proposals_of((0, 0, 12, 8), (0, 0, 12, 4), (0, 0, 1, 1))
        maps = maps_of((0, 0, 12, 4))
        assert lists(ProposalPseudoGTSampler(overlap_thr=0.).candidates(cues_of(maps), proposals)) == [[1, 2]]
        narrow = ProposalPseudoGTSampler(overlap_thr=0., area_range=(0.02, 2.))
        assert sorted(lists(narrow.candidates(cues_of(maps), proposals))[0]) == [0, 1]

    def test_maps_of_any_scale_where_there_are_no_peak_response_maps(self):
        """A cue's ``maps`` count only without ``prms``, and then as shares of their sum."""
        proposals = proposals_of(LEFT, RIGHT)
        sampler = ProposalPseudoGTSampler(num_candidates=1, contour_size=1, overlap_rule='own', min_score=0.5)
        maps = 7 * maps_of(LEFT, (0, 0, 12, 8))  # scores 0.8 and 0.8 / 6
        assert lists(sampler.candidates(InstanceData(maps=maps), proposals)) == [[0], []]
        both = InstanceData(maps=maps, prms=maps_of(RIGHT, RIGHT))
        assert lists(sampler.candidates(both, proposals)) == [[1], [1]]
        zero = InstanceData(maps=torch.zeros(1, *SIZE))
        assert lists(sampler.candidates(zero, proposals)) == [[]]


class TestFingerprint:
    #: another value for every argument
    OTHERS = dict(num_candidates=4, alpha=0.7, contour_size=3, overlap_thr=0.3, overlap_rule='own',
                  area_range=(2e-5, 0.8), min_score=0.5, dedupe_iou=None, rank_weight=0.1, class_map_weight=0.1)

    def test_it_holds_every_setting_but_who_is_trusted(self):
        plain = ProposalPseudoGTSampler().candidate_fingerprint()
        arguments = set(inspect.signature(ProposalPseudoGTSampler).parameters)
        assert arguments == {*self.OTHERS, 'trusted_fraction'}
        for name, value in self.OTHERS.items():
            assert ProposalPseudoGTSampler(**{name: value}).candidate_fingerprint() != plain, name
        assert ProposalPseudoGTSampler(trusted_fraction=0.5).candidate_fingerprint() == plain


class TestDraw:

    def test_a_mask_for_each_map(self):
        proposals = proposals_of(LEFT, RIGHT)
        sampler = ProposalPseudoGTSampler(num_candidates=1, contour_size=1, overlap_rule='own')
        candidates = sampler.candidates(cues_of(maps_of(RIGHT, (5, 0, 7, 2), LEFT)), proposals)
        assert lists(candidates) == [[1], [], [0]]
        masks = sampler.draw([candidates[0], candidates[2]], proposals, torch.device('cpu')).masks
        assert masks.equal(torch.from_numpy(proposals.masks([1, 0]))) and masks.dtype == torch.bool
        assert lists(sampler.candidates(cues_of(maps_of(LEFT, RIGHT)), SegmentProposals.empty(SIZE))) == [[], []]
        for sampler.self_selecting in (False, True):
            none = sampler.draw([], proposals, torch.device('cpu'), torch.zeros(0, *SIZE))
            assert none.masks.shape == (0, *SIZE) and none.masks.dtype == torch.bool

    def test_uniform_over_the_candidates_of_each_map(self):
        proposals = proposals_of(*[(0, 0, i + 1, 1) for i in range(6)])  # proposal i has i + 1 pixels
        candidates = [np.array([4, 0, 2, 5]), np.array([1]), np.array([3, 0])]
        torch.manual_seed(0)
        sampler, draws = ProposalPseudoGTSampler(), 1200
        drawn = [sampler.draw(candidates, proposals, torch.device('cpu')) for _ in range(draws)]
        chosen = torch.stack([one.masks.flatten(1).sum(1) - 1 for one in drawn])
        for column, options in zip(chosen.T, candidates):
            counts = np.bincount(column.numpy(), minlength=6)
            assert set(np.flatnonzero(counts)) == set(options.tolist())
            share = draws / len(options)
            chi_square = ((counts[options] - share)**2 / share).sum()
            assert chi_square < 16.3  # a thousandth of fair draws exceeds it, with three degrees of freedom
        # draws of different maps are independent: of the four by two pairs, each occurs about as often
        pairs = np.unique(chosen[:, [0, 2]].numpy(), axis=0, return_counts=True)[1]
        assert len(pairs) == 8 and abs(pairs - draws / 8).max() < 60


class TestSelfSelection:
    """Boxes of 12 pixels of height 1: the agreement of two of them is twice the overlap over the sum of their areas."""

    def sampler(self, **options):
        sampler = ProposalPseudoGTSampler(**options)
        sampler.self_selecting = True
        return sampler

    def draw(self, sampler, boxes, candidates, *iams):
        maps = torch.full((len(iams), *SIZE), -40.)
        for one, (x1, y1, x2, y2) in zip(maps, iams):
            one[y1:y2, x1:x2] = 40.
        return sampler.draw([np.array(one, np.int64) for one in candidates], proposals_of(*boxes),
                            torch.device('cpu'), maps)

    def test_the_candidate_in_best_agreement_is_taken(self):
        boxes = [(0, 0, 2, 1), (0, 0, 6, 1), (6, 0, 12, 1), (0, 0, 12, 8)]
        drawn = self.draw(self.sampler(), boxes, [[3, 0, 1], [2, 1]], (0, 0, 4, 1), (6, 0, 9, 1))
        assert [mask[0].nonzero().flatten().tolist() for mask in drawn.masks] == [list(range(6)), list(range(6, 12))]
        assert drawn.agreement.tolist() == pytest.approx([2 * 4 / (4 + 6), 2 * 3 / (3 + 6)])

    def test_half_sure_maps(self):
        # Dice of p = 1/2 on two pixels and a mask of both: 2 * 1 / (2 * 1/4 + 2)
        maps = torch.full((1, *SIZE), -40.)
        maps[0, 0, :2] = 0
        maps.requires_grad_()
        drawn = self.sampler().draw([np.array([0])], proposals_of((0, 0, 2, 1)), torch.device('cpu'), maps)
        assert drawn.agreement.item() == pytest.approx(2 / 2.5) and not drawn.agreement.requires_grad

    @pytest.mark.parametrize('fraction, kept', [(1., [0, 1, 2, 3, 4]), (0.6, [1, 2, 4]), (0.5, [1, 2, 4]),
                                                (0.2, [4]), (0.01, [4])])
    def test_those_in_best_agreement_are_trusted(self, fraction, kept):
        agreement = torch.tensor([.1, .5, .4, .2, .9])
        assert self.sampler(trusted_fraction=fraction).trusted(agreement).tolist() == kept

    @pytest.mark.parametrize('fraction', [0., 1.1, -1.])
    def test_a_fraction_is_a_fraction(self, fraction):
        with pytest.raises(ValueError, match='trusted_fraction is above 0 and at most 1'):
            ProposalPseudoGTSampler(trusted_fraction=fraction)
