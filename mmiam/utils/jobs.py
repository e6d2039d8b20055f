"""One output file an input, over many files: parallel, resumable, with a progress bar.

What the command line tools in tools/proposals share.
"""
from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


def list_images(folder: str | Path, ids: str | Path | None = None, recursive: bool = False) -> list[Path]:
    """Images of a folder, sorted by name; or those whose stems stand first in the lines of the file ``ids``.

    With ``recursive`` also those of the folders below; a stem is then the path below ``folder`` without suffix.

    Raises:
        FileNotFoundError: if the folder or a named image is missing, or the folder holds no image.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix.lower() in IMAGE_SUFFIXES:
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f'no folder of images {folder}')
    paths = folder.rglob('*') if recursive else folder.iterdir()
    found = {p.relative_to(folder).with_suffix('').as_posix(): p for p in sorted(paths)
             if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')}
    if not found:
        raise FileNotFoundError(f'no image ({", ".join(IMAGE_SUFFIXES)}) in {folder}')
    if ids is None:
        return list(found.values())
    wanted = read_ids(ids)
    missing = [i for i in wanted if i not in found]
    if missing:
        raise FileNotFoundError(f'{len(missing)} of {len(wanted)} images named in {ids} are not in {folder}, the '
                                f'first is {missing[0]!r}')
    return [found[i] for i in wanted]


def read_ids(path: str | Path) -> list[str]:
    """First word of each line that is not blank, as in VOC's ImageSets."""
    lines = Path(path).read_text().splitlines()
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


def take_shard(items: list, shard: str | None) -> list:
    """Every n-th item from the i-th on for ``shard`` 'i/n' with i from 0; all of them for None.

    'auto' takes i and n from the launcher's environment (see :func:`launcher_shard`).

    Raises:
        ValueError: if ``shard`` is none of these, or 'auto' without a launcher.
    """
    index, count = shard_index(shard)
    return items[index::count]


def shard_index(shard: str | None) -> tuple[int, int]:
    """(i, n) of a ``shard`` as of :func:`take_shard`; (0, 1) for None."""
    if shard is None:
        return 0, 1
    shard = launcher_shard() if shard == 'auto' else shard
    try:
        index, count = (int(part) for part in shard.split('/'))
    except ValueError:
        raise ValueError(f"shard must look like '0/4', got {shard!r}") from None
    if not 0 <= index < count:
        raise ValueError(f'shard {shard!r}: the first number must lie in 0..{count - 1}')
    return index, count


def launcher_shard() -> str:
    """'i/n' of this process under torchrun, srun, a Slurm array (its ids from 0) or mpirun.

    Raises:
        ValueError: if none of them started it.
    """
    for index, count in (('RANK', 'WORLD_SIZE'), ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT'),
                         ('SLURM_PROCID', 'SLURM_NTASKS'), ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE')):
        if index in os.environ and count in os.environ:
            return f'{os.environ[index]}/{os.environ[count]}'
    raise ValueError("shard 'auto' needs a launcher that sets RANK and WORLD_SIZE (torchrun), or Slurm's or MPI's own "
                     "variables; without one, give '0/4' and so on")


def run_jobs(function: Callable[[Path, Path], object], jobs: Iterable[tuple[Path, Path]], workers: int = 1,
             overwrite: bool = False, title: str = 'proposals') -> dict[Path, str]:
    """Calls ``function(source, target)`` for each job whose target does not exist yet.

    Targets must be written atomically: one that exists is complete, which makes a killed run resumable.

    Args:
        function (callable): Picklable; makes ``target`` from ``source``.
        jobs (iterable): Pairs of source and target.
        workers (int): Processes, one thread each.
        overwrite (bool): Make targets anew that exist.
        title (str): Shown beside the progress bar.

    Returns:
        dict: error message of each source that failed; the others are done regardless.
    """
    jobs = list(jobs)
    open_jobs = [(s, t) for s, t in jobs if overwrite or not t.exists()]
    if len(open_jobs) < len(jobs):
        print(f'{len(jobs) - len(open_jobs)} of {len(jobs)} files exist already and are kept')
    failed: dict[Path, str] = {}
    for source, error in with_bar(_results(function, open_jobs, workers), len(open_jobs), title):
        if error is not None:
            failed[source] = error
    return failed


def report(failed: dict[Path, str], total: int, target: str | Path) -> int:
    """Prints what came of a run and returns the exit status: 0, or 1 if a file failed."""
    for source, error in failed.items():
        print(f'failed: {source}: {error}')
    print(f'{total - len(failed)} of {total} files are in {target}' + (f', {len(failed)} failed' if failed else ''))
    return 1 if failed else 0


def _results(function, jobs, workers):
    if workers <= 1 or len(jobs) <= 1:
        one_thread()
        for source, target in jobs:
            yield _attempt(function, source, target)
        return
    # forked workers share the imported libraries; elsewhere they are imported again
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread) as pool:
        futures = [pool.submit(_attempt, function, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def one_thread() -> None:
    """Keeps numerical libraries to one thread: the processes are the parallelism."""
    import cv2
    os.environ['OMP_NUM_THREADS'] = '1'
    cv2.setNumThreads(1)


def _attempt(function, source, target):
    try:
        function(source, target)
    except Exception as error:  # one broken file must not end a run over ten thousand
        text = str(error) or type(error).__name__
        return source, text if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: {text}'
    return source, None


def with_bar(results: Iterable, total: int, title: str) -> Iterator:
    """Results, or things to be done, one by one, with a progress bar; in a log file, a line each tenth."""
    if not total:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    if not Console().is_terminal:  # rich draws a bar there once all is done
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
