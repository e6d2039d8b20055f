"""What the pseudo ground truth is worth: figures by hand, equality with the sampler, the tool on mini_voc."""
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from support import load_tool

from mmiam.models.samplers import ProposalPseudoGTSampler
from mmiam.proposals import SegmentProposals

tool = vars(load_tool('tools/analysis_tools/analyze_pseudo_gt.py'))
Setting, Tally, Truth = tool['Setting'], tool['Tally'], tool['Truth']


def quarters(height=8, width=8):
    """Six proposals from the four quarters of an image: the quarters, the upper and the left half."""
    labels = (np.arange(height)[:, None] // (height // 2)) * 2 + np.arange(width)[None] // (width // 2)
    members = np.array([*np.eye(4), [1, 1, 0, 0], [1, 0, 1, 0]], bool)
    return SegmentProposals([labels], [members])


def test_candidates_are_those_of_the_sampler():
    rng = np.random.default_rng(0)
    members = np.unique(rng.random((40, 9)) < 0.4, axis=0)
    labels = np.concatenate([np.arange(9), rng.integers(0, 9, 135)]).reshape(12, 12)
    proposals = SegmentProposals([labels], [members[members.any(1)]])
    prms = torch.from_numpy(rng.random((3, 12, 12)) ** 6)
    cues = InstanceData(prms=prms / prms.sum((1, 2), keepdim=True), cams=torch.from_numpy(rng.normal(size=prms.shape)))
    settings = [Setting('p', alpha, k, rule, areas, thr, *prior) for areas in ((2e-5, 0.85), (0.2, 0.6))
                for alpha in (0.3, 2.) for k in (1, 4) for rule in ('max', 'own') for thr in (0.2, 0.7)
                for prior in ((0., 0.), (1., 0.), (1., 2.))]
    found = dict(tool['all_candidates'](cues, proposals, settings))
    assert list(found) == settings
    for setting, candidates in found.items():
        sampler = ProposalPseudoGTSampler(setting.k, setting.alpha, overlap_rule=setting.overlap_rule,
                                          overlap_thr=setting.overlap_thr, area_range=setting.area_range,
                                          rank_weight=setting.rank_weight, class_map_weight=setting.class_map_weight)
        assert list(map(list, candidates)) == list(map(list, sampler.candidates(cues, proposals)))
    assert len({tuple(map(len, candidates)) for candidates in found.values()}) > 2  # the settings differ


def test_figures_by_hand():
    """The map lies in the upper left quarter, the object is the upper half."""
    proposals = quarters()
    prms = torch.zeros(1, 8, 8, dtype=torch.float64)
    prms[0, 1:3, 1:3] = 0.25
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :4] = True  # class 3
    masks[1, 4:, 4:] = True  # class 5, without a peak
    truth = Truth(masks, np.array([3, 5]), None)
    setting = Setting('p', 0.8, 3, 'own', (2e-5, 0.85), 0.2)
    tallies = {setting: Tally()}
    cues = InstanceData(labels=torch.tensor([3]), prms=prms)
    bound = tool['add_image'](tallies, cues, proposals, truth)
    figures = tallies[setting].summary()
    # candidates: quarter 0 (IoU 1/2), upper half (1), left half (16 / 48)
    assert bound == 1.
    assert figures['drawn'] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert figures['best'] == 1.
    assert figures['vote'] == pytest.approx(1 / 2)  # only quarter 0 is in more than half of them
    assert figures['draws_50'] == pytest.approx(2 / 3)
    assert figures['recall_50'] == 0.5
    assert figures['no_candidate'] == 0. and figures['num_peaks'] == 1 and figures['num_instances'] == 2


def test_void_counts_nowhere_and_peaks_without_candidate_are_counted():
    proposals = quarters()
    masks, void = np.zeros((1, 8, 8), bool), np.zeros((8, 8), bool)
    masks[0, :4, :2], void[:4, 2:4] = True, True  # quarter 0 without void is the object
    prms = torch.zeros(2, 8, 8, dtype=torch.float64)
    prms[0, 1, 1], prms[1] = 1., 1 / 64  # the second map is flat: a quarter holds 0.25 of it
    settings = {Setting('p', 0.8, 1, 'own', (2e-5, 0.3), thr): Tally() for thr in (0.2, 0.3)}
    cues = InstanceData(labels=torch.tensor([0, 0]), prms=prms)
    tool['add_image'](settings, cues, proposals, Truth(masks, np.array([0]), void))
    low, high = (tally.summary() for tally in settings.values())
    assert low['no_candidate'] == 0. and high['no_candidate'] == 0.5
    assert high['drawn'] == high['vote'] == 1.


def test_tool_on_mini_voc(tiny_files, tmp_path, capsys):
    proposals, out, sheet = tmp_path / 'proposals', tmp_path / 'out.json', tmp_path / 'sheet.png'
    proposals.mkdir()
    for name in ('t0', 't1', 't2', 't3'):
        quarters(24, 32).save(proposals / f'{name}.npz')
    arguments = [*tiny_files, '--proposals', f'{proposals}=mine', '--k', '1', '5',
                 '--alpha', '0.8', '--overlap-rule', 'max', 'own',
                 '--area-range', '2e-5,0.85', '0.3,0.6', '--json', str(out),
                 '--sheet', str(sheet), '--device', 'cpu']
    assert tool['main'](arguments) == 0
    result = json.loads(out.read_text())
    assert result['num_images'] == 3  # t3 has no object
    assert len(result['rows']) == 8 and all(row['num_instances'] == 5 for row in result['rows'])
    assert all(row['num_peaks'] > 0 for row in result['rows'])
    assert all(0 <= row['drawn'] <= row['best'] <= result['bound']['mine'] + 1e-9 for row in result['rows'])
    assert sheet.stat().st_size > 1000
    assert 'no candidate' in capsys.readouterr().out
    (proposals / 't1.npz').unlink()
    assert tool['main'](arguments) == 2
    assert 't1' in capsys.readouterr().err
