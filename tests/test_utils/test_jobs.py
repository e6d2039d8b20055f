"""Jobs over many files: shards, a bar, and what happens when something or somebody ends them."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmiam.apis.options import run_tool
from mmiam.utils.files import CannotWrite
from mmiam.utils.jobs import run_and_report, run_jobs, take_shard, with_bar

ROOT = Path(__file__).parents[2]


NAMES = ('RANK', 'WORLD_SIZE', 'SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', 'SLURM_PROCID', 'SLURM_NTASKS',
         'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE')


@pytest.mark.parametrize('index, count', [(None, None), *zip(NAMES[::2], NAMES[1::2])])
def test_shards_are_disjoint_and_complete(index, count, monkeypatch):
    """By numbers, which a launcher does not change, and by the variables of launchers."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(count or 'WORLD_SIZE', '3')
    with pytest.raises(ValueError, match="'auto' needs a launcher"):
        take_shard([1], 'auto')
    parts = []
    for rank in range(3):
        monkeypatch.setenv(index or 'RANK', str(rank) if index else '7')
        parts.append(take_shard(list(range(8)), 'auto' if index else f'{rank}/3'))
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]] and take_shard([1, 2], None) == [1, 2]


@pytest.mark.parametrize('shard', ['1', '3/3', '-1/2', 'a/b'])
def test_bad_shards(shard):
    with pytest.raises(ValueError, match='shard'):
        take_shard([1], shard)


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


def start(call, out):
    """A process that calls a function of this module."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen([sys.executable, '-c', f'import test_jobs; test_jobs.{call}({str(out)!r})'],
                            stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=path))


def run_after_threads(out):
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (15, 15), 3)  # OpenCV's threads are there now
    assert not run_jobs(work, jobs(Path(out), 'ok', 'ok'), 2) and cv2.getNumThreads() == 2


def test_workers_do_not_wait_for_threads_that_only_their_parent_has(tmp_path):
    run = start('run_after_threads', tmp_path)
    assert run.communicate(timeout=60)[1] == '' and run.returncode == 0


def run_long(out):
    """Three jobs of a minute each on two processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and shells in the background have some ignored
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    todo = jobs(Path(out), 'long', 'long', 'long')
    sys.exit(run_tool(lambda: run_and_report(work, todo, 2, False, 'files', out)))


def children(pid):
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='/proc')
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'])
def test_no_process_is_left_whatever_ends_a_run(tmp_path, name):
    run = start('run_long', tmp_path / 'out')
    for _ in range(1200):
        if len(workers := children(run.pid)) == 2:
            break
        time.sleep(.1)
    time.sleep(.5)  # they have begun
    run.send_signal(getattr(signal, name))
    error = run.communicate(timeout=50)[1]  # a busy machine needs seconds
    if name == 'SIGINT':
        assert run.returncode == 130 and 'interrupted; what is finished is kept' in error and 'Traceback' not in error
    for _ in range(400):
        if not any(Path(f'/proc/{pid}').exists() for pid in workers):
            break
        time.sleep(.1)
    assert len(workers) == 2 and not any(Path(f'/proc/{pid}').exists() for pid in workers)


def test_progress_in_a_log_file(capsys):
    """A line each tenth, after the thing was done; one for each of a few, none for none."""
    for item in with_bar(range(25), 25, 'cues'):
        assert f'cues: {item + 1} of 25' not in capsys.readouterr().out
    assert capsys.readouterr().out.splitlines() == ['cues: 25 of 25']
    assert list(with_bar('ab', 2, 'cues')) == ['a', 'b'] and list(with_bar([], 0, 'cues')) == []
    assert capsys.readouterr().out.splitlines() == ['cues: 1 of 2', 'cues: 2 of 2']
    assert list(with_bar(range(25), 25, 'cues')) == list(range(25))
    assert [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()] == [
        3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
