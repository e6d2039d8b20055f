"""``tools/test.py`` as a user runs it."""
import json
import os
import subprocess
import sys

import pytest
from support import ROOT

pytestmark = pytest.mark.slow



@pytest.fixture
def run_test(tiny_files, tmp_path):
    """``run_test(*flags)`` -> the finished process, on a checkpoint with random weights."""
    def run(*flags, checkpoint='tiny.pth'):
        return subprocess.run(
            [sys.executable, str(ROOT / 'tools/test.py'), 'tiny.py', checkpoint, '--work-dir', 'work', *flags],
            env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'), cwd=tmp_path, capture_output=True,
            text=True, timeout=200)

    return run


def test_predictions_pictures_and_options(run_test, tmp_path):
    done = run_test('--out', 'out.json', '--show-dir', 'pictures', '--cfg-options', 'model.peak_head.class_thr=-50')
    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads((tmp_path / 'out.json').read_text())
    assert 'v0' in json.dumps(content) and 'v1' in json.dumps(content)
    pictures = [path for path in (tmp_path / 'work').rglob('*') if path.suffix in ('.jpg', '.png')]
    assert {path.stem.split('_')[0] for path in pictures} >= {'v0', 'v1'}
    metrics = [json.loads(path.read_text()) for path in (tmp_path / 'work').rglob('2*.json')]
    assert any({'mAP_25', 'mAP_50', 'mAP_75', 'ABO'} <= set(one) for one in metrics), metrics


@pytest.mark.parametrize('flags, checkpoint, message', [
    ((), 'none.pth', 'none.pth'), (('--out', 'out.pkl'), 'tiny.pth', 'the file is json'),
    (('--out', 'tiny.pth/out.json'), 'none.pth', 'tiny.pth/out.json'),  # before anything is computed
    # the number of the model's classes is the checkpoint's, but label 0 is another class
    (('--cfg-options', 'test_dataloader.dataset.metainfo.classes=(dog,person)'), 'tiny.pth', 'cat are in one alone')])
def test_bad_arguments_are_named(flags, checkpoint, message, run_test):
    done = run_test(*flags, checkpoint=checkpoint)
    assert done.returncode != 0 and message in done.stderr
