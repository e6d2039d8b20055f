"""Speed and memory of the package's operations against the usual way of computing each.

    python tools/analysis_tools/benchmark_ops.py [--only filling conv_crf] [--json FILE] [--threads 2]

Sections: ``prm`` (Peak Response Maps of an image), ``filling`` (extent filling), ``conv_crf``, ``matching`` (proposals
against Peak Response Maps). Results are compared before anything is timed. The two sides take turns in one process;
the speed-up is the ratio of the medians. Memory is the peak of a fresh process during the call above what it held just
before (inputs and libraries are not counted, the result is). A section's ``speedup``, ``memory_ratio`` (theirs / ours)
and ``max_rel_error`` are the worst of its cases; but the forward pass of the filling and the ConvCRF with blur, where
neither side needs much more than its result, say nothing about memory and are left out of ``memory_ratio``.
"""
from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))

import benchmark_ops_reference as reference  # noqa: E402

from mmiam.ops.conv_crf import conv_crf  # noqa: E402
from mmiam.ops.extent_filling import extent_filling, normalize_filling_weights  # noqa: E402

SECTIONS = ('prm', 'filling', 'conv_crf', 'matching')
# Largest difference over largest value at which two results still count as equal (float32). The CRF's iterations
# enlarge differences of rounding where labels are undecided; its cases are compared in float64 as well.
TOLERANCE = {'filling': 1e-5, 'conv_crf': 1e-3}
TOLERANCE_FLOAT64 = 1e-9
SLOW = 5.  # seconds from which a side is timed three times only


def filling_case(num: int, backward: bool, size: int = 112, channels: int = 16) -> tuple[Callable, Callable]:
    """The paper's size: ``num`` instances, C = 16, r = 3, N = 112 steps on 112 x 112. -> (ours, theirs)"""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(num, channels, size, size, generator=generator)
    weights = normalize_filling_weights(torch.randn(1, channels * 9, size, size, generator=generator))
    seed = torch.randn(features.shape, generator=generator)

    def run(fill: Callable) -> list[torch.Tensor]:
        if not backward:
            with torch.no_grad():
                return [fill(features, weights, size)]
        inputs = [features.detach().requires_grad_(), weights.detach().requires_grad_()]
        filled = fill(*inputs, size)
        return [filled.detach(), *torch.autograd.grad(filled, inputs, seed)]

    return lambda: run(extent_filling), lambda: run(reference.unfold_filling)


def conv_crf_case(blur: int, num: int = 5, size: tuple[int, int] = (375, 500),
                  dtype: torch.dtype = torch.float32) -> tuple[Callable, Callable]:
    """``num`` instances with two labels on a smooth random image, K = 7, 5 iterations. -> (ours, theirs)"""
    generator = torch.Generator().manual_seed(0)

    def smooth(channels: int, cell: int) -> torch.Tensor:
        coarse = torch.randn(1, channels, *(max(2, n // cell) for n in size), generator=generator, dtype=dtype)
        return F.interpolate(coarse, size=size, mode='bicubic')[0]

    image = (smooth(3, 25) * 50 + 128 + smooth(3, 2) * 5).clamp(0, 255)
    logits = 3 * smooth(num, 40) - 1
    unary = torch.stack([-logits, logits], 1) / 2
    return (lambda: [conv_crf(unary, image, blur=blur)],
            lambda: [reference.unfold_conv_crf_each(unary, image, blur=blur)])


CASES = {
    'filling': {f'{name}, {num} instance{"s" * (num > 1)}': (filling_case, dict(num=num, backward=backward))
                for num in (1, 8) for name, backward in (('forward', False), ('forward and backward', True))},
    'conv_crf': {f'500x375, K=7, blur {blur}, 5 instances': (conv_crf_case, dict(blur=blur)) for blur in (4, 1)},
}


MEMORY_LEFT_OUT = {'forward, 1 instance', 'forward, 8 instances', '500x375, K=7, blur 4, 5 instances'}


def max_rel_error(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Largest difference over largest absolute value, the worst of the results."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs, strict=True))


def time_in_turns(sides: list[Callable], repeats: int, clock: Callable) -> list[list[float]]:
    """Seconds of each side by a clock, after a warm-up of each, in turns."""
    times = [[] for _ in sides]
    for turn in range(repeats + 1):
        if turn > 3 and max(seconds[0] for seconds in times) > SLOW:
            break
        for side, seconds in zip(sides, times):
            start = clock()
            side()
            seconds.append(clock() - start)
    return [seconds[1:] for seconds in times]


def peak_memory(section: str, case: str, side: int, threads: int) -> int:
    """Bytes that one side of a case needs at most, measured in a fresh process."""
    command = [sys.executable, __file__, '--threads', str(threads), '--memory-of', section, case, str(side)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f'the memory of {section}, {case} could not be measured:\n{result.stderr}')
    return int(result.stdout.split()[-1])


def _status_bytes(key: str) -> int:
    line = next(x for x in Path('/proc/self/status').read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1024


def _report_memory(section: str, case: str, side: int) -> None:
    """Print the bytes by which the call raises this process's peak."""
    make, settings = CASES[section][case]
    small = dict(size=12) if section == 'filling' else dict(size=(40, 40))
    make(**{**settings, **small})[side]()  # libraries and threads start now, not during the measurement
    call = make(**settings)[side]
    try:
        Path('/proc/self/clear_refs').write_text('5')  # the peak starts again from here
        before, peak = _status_bytes('VmRSS'), lambda: _status_bytes('VmHWM')
    except OSError:  # not Linux: the peak up to now may lie above what is held, so this can only come out too small
        unit = 1 if sys.platform == 'darwin' else 1024
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit  # noqa: E731
        before = peak()
    results = call()
    print(peak() - before)
    del results


def benchmark_section(section: str, threads: int, repeats: int, clock: Callable = time.perf_counter) -> dict:
    """All cases of a section: equality, then times in turns, then memory."""
    rows = []
    for case, (make, settings) in CASES[section].items():
        ours, theirs = make(**settings)
        row = dict(case=case, max_rel_error=max_rel_error(ours(), theirs()))
        if not row['max_rel_error'] <= TOLERANCE[section]:
            raise AssertionError(f'{section}, {case}: results differ by {row["max_rel_error"]:.1e}')
        if section == 'conv_crf':
            exact = max_rel_error(*(side() for side in make(**settings, dtype=torch.float64)))
            if not exact <= TOLERANCE_FLOAT64:
                raise AssertionError(f'{section}, {case}: results differ by {exact:.1e} in float64')
            row['max_rel_error_float64'] = exact
        medians = [statistics.median(seconds) for seconds in time_in_turns([ours, theirs], repeats, clock)]
        peaks = [peak_memory(section, case, side, threads) for side in (0, 1)]
        row.update(seconds=medians[0], reference_seconds=medians[1], speedup=medians[1] / medians[0],
                   bytes=peaks[0], reference_bytes=peaks[1], memory_ratio=peaks[1] / max(1, peaks[0]))
        rows.append(row)
        print(f'{section:9} {case:34} {medians[1]:8.3f} s -> {medians[0]:7.3f} s {row["speedup"]:6.1f}x   '
              f'{peaks[1] / 2**20:7.0f} MiB -> {peaks[0] / 2**20:6.0f} MiB {row["memory_ratio"]:6.1f}x   '
              f'error {row["max_rel_error"]:.1e}', flush=True)
    telling = [row['memory_ratio'] for row in rows if row['case'] not in MEMORY_LEFT_OUT]
    return dict(speedup=min(row['speedup'] for row in rows), memory_ratio=min(telling),
                max_rel_error=max(row['max_rel_error'] for row in rows), cases=rows)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', choices=SECTIONS, default=SECTIONS, help='sections to run')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of torch')
    parser.add_argument('--repeats', type=int, default=5, help='timed runs of each side')
    parser.add_argument('--cpu-time', action='store_true',
                        help="time of the processor instead of the wall clock's, for one thread on a busy machine")
    parser.add_argument('--memory-of', nargs=3, metavar=('SECTION', 'CASE', 'SIDE'), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        section, case, side = args.memory_of
        _report_memory(section, case, int(side))
        return
    clock = time.process_time if args.cpu_time else time.perf_counter
    figures = dict(threads=args.threads, clock=clock.__name__, torch=torch.__version__)
    for section in args.only:
        if section in CASES:
            figures[section] = benchmark_section(section, args.threads, args.repeats, clock)
            continue
        module = importlib.import_module(f'benchmark_ops_{section}')
        if section == 'prm':
            figures[section] = dict(module.benchmark_prm(clock=clock),
                                    mobilenet_v2=module.benchmark_prm('mobilenet_v2', clock=clock))
        else:
            figures[section] = module.benchmark_matching()
        print(section, json.dumps(figures[section]), flush=True)
    if args.json:
        temporary = args.json.with_name(f'.{args.json.name}.{os.getpid()}')
        temporary.write_text(json.dumps(figures, indent=2) + '\n')
        os.replace(temporary, args.json)


if __name__ == '__main__':
    main()
