"""Table 1 from end to end: the real passes on a tiny backbone, random weights, two images."""
import json
import math

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from support import ROOT, load_tool

from mmiam.proposals import SegmentProposals

NETWORK = """
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    peak_head=dict(in_channels=64, sub_pixel=2, peak_thr=-1e9, class_thr=-1e9, max_peaks=5){filler})
scale = (64, 64)
"""


table1 = load_tool('tools/analysis_tools/table1.py')
FIGURES, PAPER = table1.FIGURES, table1.PAPER


def figures(*values):
    return dict(zip(FIGURES, values))


@pytest.fixture
def configs(tmp_path):
    """Folder with the passes on a tiny backbone at 64 x 64."""
    folder = tmp_path / 'configs'
    folder.mkdir()
    for stem in ('gt-box', 'melm', 'iam_r50', 'spn_r50'):
        text = (f"_base_ = '{ROOT}/configs/voc_table1/{stem}.py'\n"
                'test_dataloader = dict(num_workers=0, persistent_workers=False)')
        if stem.endswith('r50'):
            filler = ', filler=dict(in_channels=(8, 16, 32), channels=2)' if stem == 'iam_r50' else ''
            text += NETWORK.replace('{filler}', filler)
        (folder / f'{stem}.py').write_text(text)
    return folder


@pytest.fixture
def data(mini_voc, tmp_path, monkeypatch):
    """Miniature VOC; proposals of its two val images (left, right, upper and lower half); detections of one of them."""
    root, folder = mini_voc(), tmp_path / 'proposals'
    folder.mkdir()
    labels = (np.arange(24)[:, None] // 12) * 2 + np.arange(32)[None] // 16
    members = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], bool)
    for name in ('v0', 'v1'):
        SegmentProposals([labels], [members]).save(folder / f'{name}.npz')
    entry = {'image_id': 'v0', 'class': 'dog', 'score': 3.5, 'bbox': [5, 5, 19, 19]}  # its mask without the void border
    (tmp_path / 'melm.json').write_text(json.dumps(dict(detections=[entry])))
    for name, path in dict(VOC_ROOT=root, VOC_PROPOSALS=folder, MELM_DETECTIONS=tmp_path / 'melm.json').items():
        monkeypatch.setenv(name, str(path))
    return folder


@pytest.fixture
def checkpoint(configs, tmp_path):
    """``checkpoint(name, stem, batches=1)`` -> file of a random model whose filler has seen so many batches."""
    def call(name, stem, batches=1, **meta):
        torch.manual_seed(len(name))
        state = MODELS.build(Config.fromfile(configs / f'{stem}.py').model).state_dict()
        for key in state:
            if key.endswith('num_batches_tracked'):
                state[key].fill_(batches)
        torch.save(dict(state_dict=state, meta=meta), tmp_path / f'{name}.pth')
        return str(tmp_path / f'{name}.pth')
    return call


@pytest.fixture
def run(capsys, tmp_path, configs, data):
    """``run(*arguments)`` -> exit status, what was printed, content of the json file or None."""
    def call(*arguments):
        out = tmp_path / 'out/table1.json'
        out.unlink(missing_ok=True)
        status = table1.main(['--configs', str(configs), '--work-dir', str(tmp_path / 'work'), '--json', str(out),
                              *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err, json.loads(out.read_text()) if out.exists() else None
    return call


@pytest.mark.slow
def test_the_whole_table(run, checkpoint, tmp_path):
    for seed in (3, 4):
        checkpoint(f's5_{seed}', 'iam_r50')
    untrained = checkpoint('untrained', 'iam_r50', batches=0)
    status, printed, table = run('--seeds', 3, 4, '--iam-s5', f'{tmp_path}/s5_{{seed}}.pth', '--iam-s1', untrained,
                                 '--spn', checkpoint('spn', 'spn_r50'))
    assert status == 0, printed
    assert list(table['runs']['PRM']) == list(table['runs']['IAM-S5']) == ['3', '4'] == table['seeds']
    assert list(table['runs']['CAM Rect']) == ['3', '4'] and list(table['runs']['SPN Rect']) == ['3']
    # the boxes of the miniature data set are its masks
    assert table['rows']['Ground Truth Box Rect'] == dict.fromkeys(FIGURES, 100.)
    assert table['rows']['MELM Rect'] == dict.fromkeys(FIGURES, 33.33)  # one class of three
    assert 0 < table['rows']['Ground Truth Box Proposal']['ABO'] < 100
    assert all(set(row) == set(FIGURES) and all(0 <= value <= 100 for value in row.values())
               for row in table['rows'].values())
    assert table['std']['SPN Rect'] == dict.fromkeys(FIGURES)
    assert all(value is not None for value in table['std']['IAM-S5'].values())
    assert set(table['rows']) == {*PAPER, 'IAM-S5 without ConvCRF'} - {'IAM-S1', 'IAM-S9'}
    assert 'never trained' in table['not_run']['IAM-S1'] and 'never trained' in printed
    assert table['not_run']['IAM-S9 without ConvCRF'] == 'no checkpoint: --iam-s9 PATH'
    assert table['images'] == 2 and table['complete'] is True
    assert table['classes_present'] == ['cat', 'dog', 'person'] and table['num_classes'] == 20
    assert table['command'].startswith('python tools/analysis_tools/table1.py --configs')
    assert table['margin']['mean'].keys() == set(FIGURES)


def test_iam_alone_needs_no_proposal_and_gives_the_same(run, checkpoint, monkeypatch, tmp_path):
    asked = ['--iam-s5', checkpoint('s5', 'iam_r50'), '--rows', 'IAM-S5', 'PRM']
    shared = run(*asked)[2]
    monkeypatch.setenv('VOC_PROPOSALS', str(tmp_path / 'nowhere'))
    status, printed, alone = run(*asked)
    assert status == 0, printed
    assert set(shared['rows']) == {'IAM-S5', 'PRM'}
    assert alone['rows'] == {'IAM-S5': shared['rows']['IAM-S5']}
    assert alone['not_run'] == {'PRM': f'no proposals of 2 of 2 images in {tmp_path}/nowhere'}


def test_errors_are_sentences(run, data, monkeypatch):
    status, printed, table = run('--iam-s5', '{seed}.pth')
    assert status == 2 and table is None and 'and --seeds' in printed
    status, printed, table = run('--cfg-options', 'test_dataloader.dataset.ann_file=none.txt')
    assert status == 2 and 'none.txt does not exist' in printed


def test_paths_of_an_option_are_its_seeds():
    assert table1.by_seed(['x.pth', 'y.pth'], []) == {'0': 'x.pth', '1': 'y.pth'}
    assert table1.by_seed(['x.pth'], ['7', '9']) == {'7': 'x.pth'}
    assert table1.by_seed(['run_{seed}/x_{seed}.pth'], ['1', '2']) == {'1': 'run_1/x_1.pth', '2': 'run_2/x_2.pth'}
    with pytest.raises(ValueError, match='more checkpoints than seeds'):
        table1.by_seed(['x.pth', 'y.pth'], ['1'])


def test_problems_of_checkpoints_are_told(configs, checkpoint, tmp_path):
    iam, spn = (Config.fromfile(configs / f'{stem}.py').model for stem in ('iam_r50', 'spn_r50'))
    fitting = checkpoint('s5', 'iam_r50', cfg='head PeakStimulationHead')
    assert table1.checkpoint_problem(fitting, iam) is None
    assert 'without soft proposals' in table1.checkpoint_problem(fitting, spn)  # its classifier has the same weights
    assert 'filler' in table1.checkpoint_problem(checkpoint('spn', 'spn_r50'), iam)
    assert 'does not exist' in table1.checkpoint_problem(str(tmp_path / 'none.pth'), iam)


def test_summary_and_table():
    runs = {'PRM': {'0': [40, 20, 5, 30], '1': [42, 20, 5, 30], '2': [0, 0, 0, 0]},
            'IAM-S5': {'0': [43, 24, 7, 38], '1': [43.017, 22, float('nan'), 40]}}
    summary = table1.summarize(runs, {'MELM Rect': 'no file'})
    assert list(summary['rows']) == ['PRM', 'IAM-S5']
    assert summary['rows']['PRM'] == figures(27.33, 13.33, 3.33, 20.)
    assert summary['rows']['IAM-S5'] == figures(43.01, 23., None, 39.)  # NaN has no place in json
    assert summary['std']['IAM-S5'] == figures(0.01, round(math.sqrt(2), 2), None, round(math.sqrt(2), 2))
    assert summary['margin']['mean'] == figures(2.01, 3., None, 9.)  # seeds 0 and 1: 3 and 1.017, 4 and 2, 8 and 10
    assert summary['margin']['paper'] == figures(1.6, 2., 2.9, 4.3)
    for disjoint in ({'PRM': runs['PRM']}, {'PRM': {'0': [1] * 4}, 'IAM-S5': {'1': [1] * 4}}):  # no seed in common
        assert 'margin' not in table1.summarize(disjoint, {})
    lines = [[cell.strip() for cell in line.split('|')[1:-1]]
             for line in table1.table(dict(summary, images=2)).splitlines() if line.startswith('|')]
    assert [line[0] for line in lines] == ['', 'MELM Rect', 'PRM', 'IAM-S5', 'IAM-S5 - PRM']
    assert lines[1][1:] == ['not run', '- (36.0)', '- (14.6)', '- (1.9)', '- (26.4)']  # never a number
    assert lines[3][1:] == ['2', '43.0 ±0.0 (45.9)', '23.0 ±1.4 (28.8)', '- (11.9)', '39.0 ±1.4 (41.9)']
    assert lines[4][2:4] == ['+2.0 ±1.4 (+1.6)', '+3.0 ±1.4 (+2.0)']
