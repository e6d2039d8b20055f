"""Jobs that make one output file per input file: in parallel, resumable, with a progress bar.

The command line tools in tools/proposals share this module.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import wait
from pathlib import Path

import cv2

from .files import CannotWrite

#: by launcher, its environment variables for RANK, WORLD_SIZE and LOCAL_RANK
LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm array': ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', ''),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def take_shard(items: list, shard: str | None) -> list:
    """Take every n-th item starting at the i-th for ``shard`` 'i/n', with i from 0; take all items for None.

    'auto' takes i and n from the environment of torchrun, a Slurm array (with ids from 0), srun or mpirun.

    Raises:
        ValueError: if ``shard`` is none of these, or is 'auto' without a launcher.
    """
    index, count = shard_index(shard)
    return items[index::count]


def shard_index(shard: str | None) -> tuple[int, int]:
    """Parse a ``shard`` into (i, n), see :func:`take_shard`; (0, 1) for None."""
    if shard is None:
        return 0, 1
    if shard == 'auto':
        stated = [(os.environ.get(index, ''), os.environ.get(count, '')) for index, count, _ in LAUNCHERS.values()]
        shard = next((f'{index}/{count}' for index, count in stated if index.isdigit() and count.isdigit()), None)
        if shard is None:
            raise ValueError("shard 'auto' needs a launcher that sets RANK and WORLD_SIZE (torchrun), or Slurm's or "
                             "MPI's own variables; without one, give '0/4' and so on")
    try:
        index, count = (int(part) for part in shard.split('/'))
    except ValueError:
        raise ValueError(f"shard must look like '0/4', got {shard!r}") from None
    if not 0 <= index < count:
        raise ValueError(f'shard {shard!r}: the first number must lie in 0..{count - 1}')
    return index, count


def run_jobs(function: Callable[[Path, Path], object], jobs: Iterable[tuple[Path, Path]], workers: int = 1,
             overwrite: bool = False, title: str = 'proposals') -> dict[Path, str]:
    """Call ``function(source, target)`` for each job whose target does not exist yet or is older than its source.

    Targets must be written atomically: an existing target is then complete, so that a killed run can be resumed.

    Args:
        function (callable): Picklable; makes ``target`` from ``source``.
        jobs (iterable): Pairs of source and target.
        workers (int): Number of processes, with one thread each. If one is lost (out of memory), only the file that it
            was working on fails.
        overwrite (bool): Also make targets that exist already.
        title (str): Text shown next to the progress bar.

    Returns:
        dict: Error message of each source that failed; all others are done regardless.

    Raises:
        CannotWrite: if targets cannot be written at all; the remaining jobs are not tried.
    """
    jobs = list(jobs)
    older = [] if overwrite else [
        (source, target) for source, target in jobs
        if target.exists() and source.exists() and target.stat().st_mtime_ns < source.stat().st_mtime_ns]
    open_jobs = jobs if overwrite else older + [job for job in jobs if not job[1].exists()]
    if older:
        print(f'{len(older)} files are older than their sources, and made anew, the first is {older[0][1]}')
    if len(open_jobs) < len(jobs):
        print(f'{len(jobs) - len(open_jobs)} of {len(jobs)} files exist already and are kept')
    with closing(_results(function, open_jobs, workers)) as results:
        return {source: error for source, error in with_bar(results, len(open_jobs), title) if error is not None}


def run_and_report(function: Callable[[Path, Path], object], jobs: list[tuple[Path, Path]], workers: int,
                   overwrite: bool, title: str, target: str | Path) -> int:
    """Run jobs, print the outcome, and return the exit status of the tool: 0, or 1 if a file failed.

    Raises:
        CannotWrite: see :func:`run_jobs`.
    """
    failed = run_jobs(function, jobs, workers, overwrite, title)
    for source, cause in failed.items():
        print(f'failed: {source}: {cause}')
    print(f'{len(jobs) - len(failed)} of {len(jobs)} files are in {target}'
          + (f', {len(failed)} failed' if failed else ''))
    return 1 if failed else 0


class _Worker:
    """A process that does one job after another, and exits when its parent process ends, for whatever reason."""

    def __init__(self, context, function) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(function, other), daemon=True)
        self.process.start()
        other.close()
        self.job: tuple[Path, Path] | None = None

    def start(self, job: tuple[Path, Path]) -> None:
        self.job = job
        with suppress(OSError):  # the process is gone: finish() says so
            self.pipe.send(job)

    def finish(self) -> tuple[Path, str | CannotWrite | None]:
        """Return source and error of the finished job, or of the job during which the process was lost."""
        try:
            error = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            cause = f'signal {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'
            error = f'the process that worked on it was ended ({cause}); memory may have run out: take fewer workers'
        assert self.job is not None
        source, self.job = self.job[0], None
        return source, error


def _results(function, jobs, workers):
    """Yield (source, error or None) for each job as it finishes.

    The standard library's pool would give up all jobs if one process is lost, and would wait for the running ones when
    it is interrupted.
    """
    # forked workers share the imported libraries; elsewhere they are imported again
    context = multiprocessing.get_context('fork' if 'fork' in multiprocessing.get_all_start_methods() else None)
    left = iter(jobs)
    # set before the fork: in a forked process, OpenCV would wait forever for the threads of its parent
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = [_Worker(context, function) for _ in range(min(max(workers, 1), len(jobs)))]
    try:
        for worker, job in zip(pool, left):
            worker.start(job)
        while busy := {worker.pipe: worker for worker in pool if worker.job is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                source, error = worker.finish()
                if isinstance(error, CannotWrite):
                    raise error
                yield source, error
                if not worker.process.is_alive():
                    pool.remove(worker)
                    pool.append(worker := _Worker(context, function))
                if (job := next(left, None)) is not None:
                    worker.start(job)
    finally:
        for worker in pool:
            worker.process.kill()
        for worker in pool:
            worker.process.join()
        cv2.setNumThreads(threads)


def _work(function, pipe) -> None:
    """Main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all processes; the parent ends the workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    one_thread()
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_attempt(function, *job))


def _leave_with_parent() -> None:
    # a killed parent cannot end its workers, but its end of this pipe is closed in any case
    wait([multiprocessing.parent_process().sentinel])  # type: ignore[union-attr]
    os._exit(1)


def one_thread() -> None:
    """Limit numerical libraries to one thread, because the processes provide the parallelism."""
    os.environ['OMP_NUM_THREADS'] = '1'
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


def _attempt(function, source, target) -> str | CannotWrite | None:
    try:
        function(source, target)
    except CannotWrite as error:  # every other file would fail as well
        return error
    except Exception as error:  # one broken file must not end a run over ten thousand files
        text = str(error) or type(error).__name__
        return text if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: {text}'
    return None


def with_bar(results: Iterable, total: int, title: str) -> Iterator:
    """Yield results, or items of work, with a progress bar; in a log file, print a line at every tenth instead."""
    if not total:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    if not Console().is_terminal:  # there rich would draw the bar only at the end
        for done, result in enumerate(results, 1):
            yield result
            if done * 10 // total > (done - 1) * 10 // total:
                print(f'{title}: {done} of {total}', flush=True)
        return
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(title, total=total)
        for result in results:
            yield result
            bar.advance(task)
