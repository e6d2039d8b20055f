"""``make demo`` on a handful of images with a small network; its tools run in this process."""
import json
import subprocess
import sys

import cv2
import pytest
from support import load_tool

pytestmark = pytest.mark.slow

SMALL = '''
_base_ = '{base}'
model = dict(
    backbone=dict(base_channels=8), peak_head=dict(in_channels=64, class_thr=0., keep_strongest=True),
    filler=dict(in_channels=(8, 16, 32), channels=4, hidden_channels=8, num_steps=2),
    post_processor=dict(crf=dict(num_iters=1)))
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
train_cfg = dict(max_epochs=2, val_interval=2)
custom_hooks = [dict(type='TrainingStageHook', fill_begin=1)]
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=2, convert_to_iter_based=True)]
'''


@pytest.fixture
def demo(call_tool, tmp_path, monkeypatch):
    """The module, with small configs; ``demo.ran`` are the tools that it started."""
    module = load_tool('tools/misc/run_demo.py')
    for name in ('CONFIG', 'COMPARE'):
        path = tmp_path / f'{name.lower()}.py'
        path.write_text(SMALL.format(base=getattr(module, name)))
        monkeypatch.setattr(module, name, str(path))
    module.ran, started = [], subprocess.run

    def run(command, **options):
        if command[0] != sys.executable:  # what mmengine asks about the machine
            return started(command, **options)
        tool = command[1][command[1].rindex('/tools/') + 1:]
        module.ran.append(tool)
        assert options == dict(check=True) and not call_tool(tool, *command[2:])

    monkeypatch.setattr(subprocess, 'run', run)
    monkeypatch.setattr('os.cpu_count', lambda: 1)
    for name in ('CRITTERS_ROOT', 'CRITTERS_PROPOSALS'):
        monkeypatch.setenv(name, '')
    return module


@pytest.mark.filterwarnings('ignore')
def test_from_nothing_to_table_and_pictures(demo, tmp_path, capsys):
    work = tmp_path / 'demo'
    assert demo.main(['--work-dir', str(work), '--num-train', '8', '--num-val', '3', '--cfg-options',
                      'default_hooks.logger.interval=1']) == 0
    assert demo.ran == ['tools/misc/make_critters.py', 'tools/proposals/generate.py', 'tools/train.py',
                        'tools/analysis_tools/draw_maps.py']
    summary = json.loads((work / 'summary.json').read_text())
    assert set(summary) == {'CAM', 'PRM', 'IAM'}
    assert all(0 <= row[key] <= 100 for row in summary.values() for key in ('mAP_25', 'mAP_50', 'mAP_75', 'ABO'))
    assert max(row['ABO'] for row in summary.values()) > 0
    printed = capsys.readouterr().out
    assert 'critters, held out' in printed and printed.rstrip().endswith('sheet.png')
    sheet = cv2.imread(str(work / 'sheet.png'))
    assert sheet.shape[0] > 3 * 100 and sheet.std() > 10  # a row a held-out image
