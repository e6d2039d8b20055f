"""Tools that are killed and started again; tests/kills.py kills all of them, as often as wanted."""
import os
import subprocess
import sys

import pytest
from support import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='tools are forked')
def test_killed_tools_end_with_the_same_results(tmp_path):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(ROOT / 'tests/kills.py'), '--kills', '4', '--seed', '5', '--out',
         str(tmp_path), '--tools', 'generate', 'mine_cues', 'export', 'test'],
        env=dict(os.environ, OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and done.stdout.count(': the same') == 4, done.stdout + done.stderr[-3000:]
