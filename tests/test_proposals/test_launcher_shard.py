"""Shards by the rank of a process: mmiam/utils/jobs.py."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_selective_merging import scene

from mmiam.utils.jobs import launcher_shard, take_shard

ROOT = Path(__file__).parents[2]
NAMES = ('RANK', 'WORLD_SIZE', 'SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', 'SLURM_PROCID', 'SLURM_NTASKS',
         'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE')


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('index, count', list(zip(NAMES[::2], NAMES[1::2])))
def test_launchers(index, count, monkeypatch):
    monkeypatch.setenv(count, '3')
    with pytest.raises(ValueError, match="'auto' needs a launcher"):
        launcher_shard()
    parts = []
    for rank in range(3):
        monkeypatch.setenv(index, str(rank))
        parts.append(take_shard(list(range(8)), 'auto'))
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_without_auto_a_launcher_changes_nothing(monkeypatch):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert take_shard([1, 2, 3], None) == [1, 2, 3] and take_shard([1, 2, 3], '0/3') == [1]


def test_two_ranks_make_everything_once(tmp_path):
    """As two processes of a launcher run it; what one rank made, a later run over all keeps."""
    (tmp_path / 'in').mkdir()
    for i in range(3):
        Image.fromarray(scene(seed=i)[0]).save(tmp_path / 'in' / f'im{i}.png')

    def generate(*flags, **ranks):
        environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', **ranks)
        done = subprocess.run([sys.executable, str(ROOT / 'tools/proposals/generate.py'), str(tmp_path / 'in'),
                               str(tmp_path / 'out'), *flags], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, sorted(path.name for path in (tmp_path / 'out').iterdir())

    assert generate('--shard', 'auto', RANK='1', WORLD_SIZE='2')[1] == ['im1.npz']
    made = os.stat(tmp_path / 'out' / 'im1.npz').st_mtime_ns
    printed, names = generate()
    assert names == ['im0.npz', 'im1.npz', 'im2.npz'] and '1 of 3 files exist already' in printed
    assert os.stat(tmp_path / 'out' / 'im1.npz').st_mtime_ns == made
