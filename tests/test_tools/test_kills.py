"""Tools that are killed and started again; tests/kills.py kills all of them, as often as wanted."""
import os

import pytest
from support import ROOT, run_process

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='tools are forked')
def test_killed_tools_end_with_the_same_results(tmp_path):
    done = run_process(ROOT / 'tests/kills.py', '--kills', 4, '--seed', 5, '--out', tmp_path, '--tools', 'generate',
                       'mine_cues', 'export', 'test', timeout=900, PYTHONWARNINGS='ignore')
    assert done.returncode == 0 and done.stdout.count(': the same') == 4, done.stdout + done.stderr[-3000:]
