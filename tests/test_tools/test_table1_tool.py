"""Table 1 from end to end: real row configs on a tiny backbone, random weights, two images."""
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmiam.engine.table1_rows import load_rows, pass_config, plan_passes, prepare
from mmiam.evaluation.table1 import FIGURES, PAPER
from mmiam.proposals import SegmentProposals

ROOT = Path(__file__).parents[2]
ROWS = ['cam_rect', 'cam_proposal', 'gt-box_rect', 'gt-box_proposal', 'melm_rect', 'prm_proposal-retrieval', 'spn_rect',
        'iam-s5', 'iam-s5_wo-crf', 'iam-s9']
NETWORK = """
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    peak_head=dict(in_channels=64, sub_pixel=2, peak_thr=-1e9, class_thr=-1e9, max_peaks=5){filler})
"""
LOADER = """
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), {resize}dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]))
default_hooks = dict(logger=dict(interval=1000))
"""


@pytest.fixture(autouse=True)
def plain_config_text(monkeypatch):
    """Logs hold configs unformatted: formatting them takes longer than all the rest."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: str(cfg._cfg_dict)))


@pytest.fixture
def configs(tmp_path):
    """Folder with the row configs on a tiny backbone at 64 x 64."""
    folder = tmp_path / 'rows'
    folder.mkdir()
    for stem in ROWS:
        given = stem.startswith(('gt-box', 'melm'))
        filler = ', filler=dict(in_channels=(8, 16, 32), channels=2)' if stem.startswith('iam') else ''
        resize = '' if given else "dict(type='Resize', scale=(64, 64), keep_ratio=False), "
        (folder / f'{stem}.py').write_text(
            f"_base_ = '{ROOT}/configs/voc_table1/{stem}.py'\n"
            + ('' if given else NETWORK.replace('{filler}', filler)) + LOADER.replace('{resize}', resize))
    return folder


@pytest.fixture
def data(mini_voc, tmp_path):
    """Miniature VOC, and proposals of its two val images: left, right, upper and lower half."""
    root, folder = mini_voc(), tmp_path / 'proposals'
    folder.mkdir()
    labels = (np.arange(24)[:, None] // 12) * 2 + np.arange(32)[None] // 16
    members = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], bool)
    for name in ('v0', 'v1'):
        SegmentProposals([labels], [members]).save(folder / f'{name}.npz')
    return root, folder


@pytest.fixture
def checkpoint(configs, tmp_path):
    """``checkpoint(name, stem, seed)`` -> file of a random model of that row."""
    def call(name, stem, seed=0):
        init_default_scope('mmdet')
        torch.manual_seed(seed)
        state = MODELS.build(Config.fromfile(configs / f'{stem}.py').model).state_dict()
        for key in state:
            if key.endswith('num_batches_tracked'):
                state[key].fill_(1)
        path = tmp_path / f'{name}_{seed}.pth'
        torch.save(dict(state_dict=state, meta={}), path)
        return str(path)
    return call


@pytest.fixture
def detections(tmp_path):
    """The ground truth of v0 as detections: its object without the void border."""
    path = tmp_path / 'melm.json'
    entry = {'image_id': 'v0', 'class': 'dog', 'score': 3.5, 'bbox': [5, 5, 19, 19]}
    path.write_text(json.dumps(dict(detections=[entry])))
    return path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, configs):
    """``run(*arguments)`` -> exit status, what was printed, content of the json file or None."""
    def call(*arguments):
        out = tmp_path / 'out/table1.json'
        tool = str(ROOT / 'tools/analysis_tools/table1.py')
        monkeypatch.setattr(sys, 'argv', [tool, '--configs', str(configs), '--work-dir', str(tmp_path / 'work'),
                                          '--json', str(out), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(tool, run_name='__main__')
        captured = capsys.readouterr()
        return end.value.code, captured.out + captured.err, json.loads(out.read_text()) if out.exists() else None
    return call


def test_the_whole_table(run, data, checkpoint, detections, tmp_path):
    root, proposals = data
    for seed in (3, 4):
        checkpoint('s5', 'iam-s5', seed)
    status, printed, table = run(
        '--data-root', root, '--proposal-root', proposals, '--detections', detections, '--seeds', 3, 4, '--checkpoints',
        f'iam-s5={tmp_path}/s5_{{seed}}.pth', f'spn={checkpoint("spn", "spn_rect")}')
    assert status == 0, printed
    assert '4 passes for 14 results' in printed  # 3 without network, 2 seeds of 5 rows with S5's weights, SPN
    assert list(table['runs']['PRM']) == list(table['runs']['IAM-S5']) == ['3', '4']
    assert list(table['runs']['CAM Rect']) == ['3', '4'] and list(table['runs']['SPN Rect']) == ['3']
    # the boxes of the miniature data set are its masks
    assert table['rows']['Ground Truth Box Rect'] == dict.fromkeys(FIGURES, 100.)
    assert table['rows']['MELM Rect'] == dict.fromkeys(FIGURES, 33.33)  # one class of three
    assert table['notes']['MELM Rect'] == ['detections on 1 of 2 images']
    assert 0 < table['rows']['Ground Truth Box Proposal']['ABO'] < 100
    for name, figures in table['rows'].items():
        assert set(figures) == set(FIGURES) and all(0 <= value <= 100 for value in figures.values()), name
    assert table['std']['SPN Rect'] == dict.fromkeys(FIGURES)
    assert all(value is not None for value in table['std']['IAM-S5'].values())
    assert table['not_run']['IAM-S9'] == 'no checkpoint: --checkpoints iam-s9=PATH'
    assert set(table['rows']) | set(table['not_run']) == {*PAPER, 'IAM-S5 without ConvCRF'}
    assert 'IAM-S9: not run: no checkpoint' in printed and 'CAM Ellipse: not run: no config' in printed
    assert table['seeds'] == ['3', '4'] and table['images'] == 2 and table['complete'] is True
    assert table['classes_present'] == ['cat', 'dog', 'person'] and table['num_classes'] == 20
    assert table['command'].startswith('python tools/analysis_tools/table1.py --configs')
    assert table['margin']['mean'].keys() == set(FIGURES)


def test_iam_alone_needs_no_proposal_and_gives_the_same(run, data, checkpoint):
    root, proposals = data
    path = checkpoint('s5', 'iam-s5')
    shared = run('--data-root', root, '--proposal-root', proposals, '--checkpoints', f'iam-s5={path}',
                 '--rows', 'iam-s5', 'PRM')[2]
    status, printed, alone = run('--data-root', root, '--proposal-root', root / 'nowhere', '--checkpoints',
                                 f'iam-s5={path}', '--rows', 'IAM-S5', 'prm_proposal-retrieval')
    assert status == 0, printed
    assert alone['rows'] == {'IAM-S5': shared['rows']['IAM-S5']}
    assert alone['not_run'] == {'PRM': f'no proposals of 2 of 2 images in {root}/nowhere'}


@pytest.mark.parametrize('arguments, message', [
    (['--rows', 'unheard'], "['unheard'] not among"), (['--checkpoints', 'iam-s7=a.pth'], "no row uses ['iam-s7']"),
    (['--checkpoints', 'iam-s5={seed}.pth'], '--seeds'), (['--ann-file', 'none.txt'], 'none.txt does not exist')])
def test_errors_are_sentences(run, data, arguments, message):
    status, printed, table = run('--data-root', data[0], *arguments)
    assert status == 1 and table is None
    assert message in printed and 'Traceback' not in printed


def test_rows_share_passes_where_only_the_post_processor_differs(configs, data, checkpoint):
    init_default_scope('mmdet')
    rows = load_rows(str(configs), proposal_root=str(data[1]))
    path, other = checkpoint('s5', 'iam-s5'), checkpoint('prm', 'iam-s5', 1)
    given = {'iam-s5': {'0': path}, 'iam-s9': {'0': path}, 'cam_rect': {'0': other}}
    for row in rows:
        prepare(row, given, ['v0', 'v1'])
    passes = plan_passes(rows)
    members = [(one.checkpoint, {row.stem for row, _ in one.members}) for one in passes]
    assert (path, {'iam-s5', 'iam-s5_wo-crf', 'iam-s9', 'cam_proposal', 'prm_proposal-retrieval'}) in members
    assert (other, {'cam_rect'}) in members  # a checkpoint given for a config goes before that of its weights
    assert (None, {'gt-box_rect', 'gt-box_proposal'}) in members and len(members) == 3
    cfg = pass_config(next(one for one in passes if one.checkpoint == path))
    assert cfg.model.filler and cfg.model.sampler is None
    fields = {metric['prefix']: metric['pred_field'] for metric in cfg.test_evaluator}
    assert list(fields.values()).count('pred_instances') == 1
    assert {f'pred_instances_{name}' for name in cfg.model.test_cfg.baselines} | {'pred_instances'} == set(
        fields.values())


def test_spn_trains_and_its_checkpoint_serves_its_row(run, configs, data, tmp_path):
    from mmengine.runner import Runner
    init_default_scope('mmdet')
    cfg = Config.fromfile(configs / 'spn_rect.py')
    cfg.merge_from_dict({
        'work_dir': str(tmp_path / 'spn'), 'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 9,
        'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False, 'train_dataloader.dataset.data_root': str(data[0]),
        'train_dataloader.dataset.ann_file': 'ImageSets/Segmentation/train.txt',
        'val_dataloader': dict(cfg.test_dataloader, dataset=dict(cfg.test_dataloader.dataset, data_root=str(data[0])))})
    Runner.from_cfg(cfg).train()
    status, printed, table = run('--data-root', data[0], '--rows', 'SPN Rect', '--checkpoints',
                                 f'spn={tmp_path}/spn/epoch_1.pth')
    assert status == 0, printed
    assert set(table['rows']) == {'SPN Rect'} and table['notes'] == {}


@pytest.mark.parametrize('text, message', [('', 'must set row'), ("row = 'IAM-S5'\nweights = ()", 'another row')])
def test_a_config_that_is_no_row_of_its_own(configs, text, message):
    (configs / 'zz.py').write_text(text)
    with pytest.raises(ValueError, match=message):
        load_rows(str(configs))
    with pytest.raises(FileNotFoundError, match='no row'):
        load_rows(str(configs / 'none'))
