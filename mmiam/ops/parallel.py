"""Independent parts of a computation on the cores of a CPU, each part on one core.

Operators on a few hundred thousand values are too small for torch to split: its threads wait for one another at every
operator, on two busy cores for longer than they compute. Splitting the work once, around many operators, avoids that.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process (a fork does not inherit threads) and size


def num_workers(device: torch.device) -> int:
    """Return how many parts run at a time: torch's number of threads on a CPU, 1 on other devices."""
    return torch.get_num_threads() if device.type == 'cpu' else 1


def limit_of(limits: dict[str, int], device: torch.device) -> int:
    """Return the entry of ``limits``, 'cpu' or 'other', for a device."""
    return limits['cpu' if device.type == 'cpu' else 'other']


def run_parts(function: Callable, parts: Iterable, device: torch.device) -> None:
    """Call ``function`` with each part, several at a time on a CPU, each on one core; the first error is raised.

    A single part also runs on one core, because its caller had reasons not to split it.

    The caller must ensure that parts write to different memory. Gradients are not recorded if there is more than one
    worker.

    Args:
        function (Callable): takes one part.
        parts (Iterable): the parts.
        device (torch.device): device on which the computation runs.
    """
    parts, workers = list(parts), num_workers(device)
    if workers == 1:
        for part in parts:
            function(part)
        return

    # both modes are per thread: a worker does not inherit the caller's
    mode = torch.inference_mode if torch.is_inference_mode_enabled() else torch.no_grad

    def quietly(part):
        with mode():
            function(part)

    for _ in _pool(workers).map(quietly, parts):
        pass


def _pool(workers: int) -> ThreadPoolExecutor:
    """Return threads whose operators run on one thread each; torch's setting for all other threads is unchanged."""
    key = os.getpid(), workers
    if key not in _pools:
        threads = torch.get_num_threads()
        barrier = Barrier(workers)

        def settle(_):
            barrier.wait()  # all threads are there
            torch.set_num_threads(1)
            torch.get_num_threads()  # a thread takes up the last setting at its first question, and keeps it
            barrier.wait()

        pool = ThreadPoolExecutor(workers, 'mmiam')
        list(pool.map(settle, range(workers)))
        torch.set_num_threads(threads)
        _pools[key] = pool
    return _pools[key]
