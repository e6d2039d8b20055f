"""Training and evaluation in two CPU processes, as tools/dist_train.sh and tools/dist_test.sh start them."""
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from support import ROOT, add_killer, run_process

FIGURES = ('mAP_25', 'mAP_50', 'mAP_75', 'ABO', 'mean_AP')

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == 'win32', reason='bash and gloo over localhost')]


@pytest.fixture
def run(tiny_config, tmp_path):
    """``run(tool, *arguments, kill_at=0)`` -> the finished process; the config is ``tiny.py``, cwd ``tmp_path``."""
    cfg = tiny_config()
    add_killer(cfg, tmp_path)
    cfg.model.peak_head.class_thr = -50.  # so that there is something to evaluate
    cfg.train_cfg.val_interval = 2
    cfg.log_level = 'INFO'
    cfg.dump(tmp_path / 'tiny.py')

    def start(tool, *arguments, kill_at=0):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        return run_process(ROOT / 'tools' / tool, *arguments, cwd=tmp_path, path=[tmp_path], MASTER_PORT=str(port),
                           KILL_AT=str(kill_at), KILL_RANK='1', PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='')

    return start


def figures(folder: Path) -> dict[str, float]:
    """The figures of the last evaluation logged in a work dir."""
    found = {}
    for path in sorted(folder.rglob('*.json')):
        if path.name == 'scalars.json' or re.fullmatch(r'\d+_\d+\.json', path.name):
            for line in path.read_text().splitlines():
                found.update({key: value for key, value in json.loads(line).items() if key.split('/')[-1] in FIGURES})
    return {key.split('/')[-1]: value for key, value in found.items()}


def test_two_processes_train_are_killed_resume_and_evaluate_as_one(run, tmp_path):
    """Both stages; one process dies in the second, the run ends with its name, and a second start finishes it."""
    done = run('dist_train.sh', 'tiny.py', '2', '--work-dir', 'two', kill_at=3)
    assert done.returncode != 0
    assert f'Signal {signal.SIGKILL.value}' in done.stderr and 'train.py' in done.stderr, done.stderr[-3000:]
    assert (tmp_path / 'two' / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    done = run('dist_train.sh', 'tiny.py', '2', '--work-dir', 'two', '--resume')
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'two' / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    log = '\n'.join(path.read_text() for path in (tmp_path / 'two').glob('*/*.log'))
    assert 'Training stage "classify" (epoch 1' in log and 'Training stage "fill" (epoch 2' in log
    assert re.search(r'Epoch\(train\)\s+\[1\]\[2/2\]', log)  # three images in two shares of two
    two = figures(tmp_path / 'two')
    assert {'mAP_25', 'ABO'} <= two.keys() and max(two.values()) > 0

    done = run('dist_test.sh', 'tiny.py', 'two/epoch_2.pth', '2', '--work-dir', 'again')
    assert done.returncode == 0, done.stderr[-3000:]
    assert figures(tmp_path / 'again') == pytest.approx(two, abs=1e-4)
    cfg = Config.fromfile(tmp_path / 'tiny.py', import_custom_modules=False)
    cfg.merge_from_dict(dict(
        custom_hooks=[], load_from=str(tmp_path / 'two/epoch_2.pth'), work_dir=str(tmp_path / 'one')))
    Runner.from_cfg(cfg).test()
    assert figures(tmp_path / 'one') == pytest.approx(two, abs=1e-4)


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_scripts_say_how_they_are_used(script, run):
    done = run(script, 'tiny.py')
    assert done.returncode == 2 and done.stderr.startswith('usage: ') and 'CONFIG' in done.stderr


@pytest.mark.parametrize('script, arguments', [('slurm_train.sh', []), ('slurm_test.sh', ['a.pth'])])
def test_slurm_scripts_hand_on_what_they_are_given(script, arguments, run, tmp_path, monkeypatch):
    """With a ``srun`` that only prints its arguments."""
    (tmp_path / 'srun').write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / 'srun').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('SRUN_ARGS', '--time 1:00 --exclusive')
    for gpus, expected in (('4', True), ('0', False)):
        monkeypatch.setenv('GPUS_PER_NODE', gpus)
        done = run(script, 'part', 'my job', 'tiny.py', *arguments, '--work-dir', 'a b')
        assert done.returncode == 0, done.stderr
        words = done.stdout.splitlines()
        assert {'part', '--job-name=my job', '--ntasks=8', '--time', '--exclusive', 'a b'} <= set(words)
        assert (f'--gres=gpu:{gpus}' in words) == expected
        assert words[words.index('tiny.py'):] == ['tiny.py', *arguments, '--launcher', 'slurm', '--work-dir', 'a b']
