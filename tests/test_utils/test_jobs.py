"""Jobs over many files: shards, a bar, and what happens when something or somebody ends them."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmiam.utils.files import CannotWrite
from mmiam.utils.jobs import run_and_report, run_jobs, take_shard, with_bar

ROOT = Path(__file__).parents[2]


def test_shards_are_disjoint_and_complete():
    parts = [take_shard(list(range(10)), f'{i}/3') for i in range(3)]
    assert sorted(sum(parts, [])) == list(range(10)) and take_shard([1, 2], None) == [1, 2]
    for bad in ('1', '3/3', '-1/2', 'a/b'):
        with pytest.raises(ValueError, match='shard'):
            take_shard([1], bad)


NAMES = ('RANK', 'WORLD_SIZE', 'SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', 'SLURM_PROCID', 'SLURM_NTASKS',
         'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE')


@pytest.fixture
def no_launcher(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('index, count', list(zip(NAMES[::2], NAMES[1::2])))
def test_launchers(index, count, monkeypatch, no_launcher):
    monkeypatch.setenv(count, '3')
    with pytest.raises(ValueError, match="'auto' needs a launcher"):
        take_shard([], 'auto')
    parts = []
    for rank in range(3):
        monkeypatch.setenv(index, str(rank))
        parts.append(take_shard(list(range(8)), 'auto'))
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_without_auto_a_launcher_changes_nothing(monkeypatch, no_launcher):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert take_shard([1, 2, 3], None) == [1, 2, 3] and take_shard([1, 2, 3], '0/3') == [1]


def test_a_source_that_is_newer_than_its_target_is_done_again(tmp_path, capsys):
    jobs = [(tmp_path / f'{name}.jpg', tmp_path / f'{name}.npz') for name in 'ab']
    for source, _ in jobs:
        source.write_text('old')
    run_jobs(copy, jobs)
    jobs[1][0].write_text('other')
    os.utime(jobs[1][0], ns=(0, jobs[1][1].stat().st_mtime_ns + 1))
    run_jobs(copy, jobs)
    assert [target.read_text() for _, target in jobs] == ['old', 'other']
    assert re.search(r'1 files are older than their sources, .*b\.npz\n1 of 2 files exist already',
                     capsys.readouterr().out)


def copy(source, target):
    target.write_bytes(source.read_bytes())


def work(source, target):
    if source.stem == 'odd':
        raise RuntimeError('odd')
    if source.stem == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    if source.stem == 'full':
        raise CannotWrite(28, 'No space left on device', str(target))
    if source.stem == 'long':
        time.sleep(60)
    target.write_text('done')


def jobs(tmp_path, *names):
    return [(Path(f'{name}.x'), tmp_path / f'{name}.y') for name in names]


@pytest.mark.parametrize('workers', [1, 2])
def test_a_failure_or_a_lost_process_costs_its_own_file(tmp_path, workers):
    failed = run_jobs(work, jobs(tmp_path, 'a', 'odd', 'killed', 'b', 'c'), workers)
    assert failed.pop(Path('odd.x')) == 'RuntimeError: odd'
    assert 'signal SIGKILL' in failed[Path('killed.x')] and 'memory' in failed.pop(Path('killed.x')) and not failed
    assert sorted(p.stem for p in tmp_path.iterdir()) == ['a', 'b', 'c']


@pytest.mark.parametrize('workers', [1, 2])
def test_a_full_disk_ends_the_run_with_a_sentence(tmp_path, workers):
    todo = jobs(tmp_path, 'full', *map(str, range(200)))
    with pytest.raises(CannotWrite, match=r'full.y cannot be written \(No space left on device\): make room'):
        run_and_report(work, todo, workers, False, 'files', tmp_path)
    assert len(list(tmp_path.iterdir())) < 200


SCRIPT = '''
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and shells in the background have some ignored
signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, {root!r}); sys.path.insert(0, {here!r})
from mmiam.apis.options import run_tool
from mmiam.utils.jobs import run_and_report
from test_jobs import work
import test_jobs
if __name__ == '__main__':
    out = Path({out!r})
    todo = test_jobs.jobs(out, 'long', 'long', 'long')
    sys.exit(run_tool(lambda: run_and_report(work, todo, 2, False, 'files', out)))
'''


THREADED = """
import sys
from pathlib import Path
import cv2, numpy as np
sys.path.insert(0, {root!r}); sys.path.insert(0, {here!r})
from mmiam.utils.jobs import run_jobs
import test_jobs
cv2.setNumThreads(2)
cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (15, 15), 3)  # OpenCV's threads are there now
assert not run_jobs(test_jobs.work, test_jobs.jobs(Path({out!r}), 'ok', 'ok'), 2) and cv2.getNumThreads() == 2
"""


def test_workers_do_not_wait_for_threads_that_only_their_parent_has(tmp_path):
    script = THREADED.format(root=str(ROOT), here=str(Path(__file__).parent), out=str(tmp_path))
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60, env=dict(os.environ, PYTHONPATH=str(ROOT)))


def children(pid):
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='/proc')
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'])
def test_no_process_is_left_whatever_ends_a_run(tmp_path, name):
    script = tmp_path / 'run.py'
    script.write_text(SCRIPT.format(root=str(ROOT), here=str(Path(__file__).parent), out=str(tmp_path / 'out')))
    run = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True,
                           env=dict(os.environ, PYTHONPATH=str(ROOT)))
    for _ in range(1200):
        if len(workers := children(run.pid)) == 2:
            break
        time.sleep(.1)
    time.sleep(.5)  # they have begun
    run.send_signal(getattr(signal, name))
    error = run.communicate(timeout=50)[1]  # three jobs of a minute each were to be done; a busy machine needs seconds
    if name == 'SIGINT':
        assert run.returncode == 130 and 'interrupted; what is finished is kept' in error and 'Traceback' not in error
    for _ in range(400):
        if not any(Path(f'/proc/{pid}').exists() for pid in workers):
            break
        time.sleep(.1)
    assert len(workers) == 2 and not any(Path(f'/proc/{pid}').exists() for pid in workers)


def test_progress_in_a_log_file(capsys):
    """A line each tenth, after the thing was done; one for each of a few, none for none."""
    done = []
    for item in with_bar(range(25), 25, 'cues'):
        assert f'cues: {item + 1} of 25' not in capsys.readouterr().out
        done.append(item)
    assert done == list(range(25))
    assert list(with_bar('ab', 2, 'cues')) == ['a', 'b'] and list(with_bar([], 0, 'cues')) == []
    assert capsys.readouterr().out.splitlines() == ['cues: 25 of 25', 'cues: 1 of 2', 'cues: 2 of 2']
    list(with_bar(range(25), 25, 'cues'))
    assert [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()] == [
        3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
