"""Measures the columns of the paper's Table 2 on this machine: IAM and PRM with retrieval, side by side in one run.

    python tools/analysis_tools/benchmark_iam.py CONFIG [CHECKPOINT] --images DIR --num 10 --json benchmark_iam.json

Both methods share the cue (one forward pass and the Peak Response Maps of all peaks) and use this project's own fast
parts: PRM generates its proposals with the built-in generator and retrieves with the exact fast matching. Reading and
resizing the image is not counted. Time of an image: median over repeats, after warm-up; of a column: median over
images, so that the columns need not add up to the total.

Without a checkpoint the weights are random and each image gets ``--peaks`` peaks (5, if not given).
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import mmcv
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from terminaltables import AsciiTable

from mmiam.apis import image_files, init_model
from mmiam.apis.options import given_config, model_parser
from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.files import atomic_write

#: seconds an image, Table 2 of the paper: networks and CRF on a Tesla P100, retrieval by public code on a CPU
PAPER = {
    'PRM with retrieval (paper)': dict(cue=0.05, retrieval=3.0, proposals=8.1, total=11.15),
    'IAM (paper)': dict(cue_and_filling=0.07, crf=0.3, total=0.37),
}
METHODS = {
    'PRM with retrieval': ('cue', 'proposals', 'retrieval'),
    'IAM': ('cue', 'filling', 'crf'),
}


class Meter:
    """Time and peak memory of a call.

    Memory is what a call adds to what was held before: on CUDA the allocator's peak; on the CPU the peak of resident
    memory, which Linux lets a process reset, and elsewhere NaN. Memory that the allocator had kept from an earlier
    call is not seen as new, so that the figure of the CPU is a lower bound.

    Args:
        device (torch.device | str): where the call computes.
        clock (Callable): seconds; ``time.process_time`` counts those of the processor.
    """

    def __init__(self, device: torch.device | str, clock: Callable = time.perf_counter) -> None:
        self.cuda = torch.device(device).type == 'cuda'
        self.clock = clock

    def __call__(self, function: Callable, *args) -> tuple[Any, float, float]:
        """Result, seconds and MiB of ``function(*args)``."""
        before = self._reset()
        start = self.clock()
        result = function(*args)
        if self.cuda:
            torch.cuda.synchronize()
        seconds = self.clock() - start
        return result, seconds, (self._peak() - before) / 2**20

    def _reset(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        try:
            Path('/proc/self/clear_refs').write_text('5')
        except OSError:
            return float('nan')
        return self._status('VmRSS')

    def _peak(self) -> float:
        return torch.cuda.max_memory_allocated() if self.cuda else self._status('VmHWM')

    @staticmethod
    def _status(key: str) -> float:
        try:
            lines = Path('/proc/self/status').read_text().splitlines()
        except OSError:
            return float('nan')
        return next((float(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:')), float('nan'))


class Stages:
    """The stages of both methods on one image after the other.

    Args:
        model (IAMNet): with a filler, in eval mode.
        pipeline (Compose): of the test data, without ground truth.
        retrieval (dict, optional): config of the PRM baseline's post-processor.
        clock (Callable): seconds.
    """

    def __init__(self, model, pipeline: Compose, retrieval: dict | None = None,
                 clock: Callable = time.perf_counter) -> None:
        if model.filler is None:
            raise ValueError('the config has no filler: model.filler = None stops at the Peak Response Maps')
        self.model = model
        self.pipeline = pipeline
        self.generate = SelectiveMerging()
        self.retrieval = MODELS.build(retrieval or dict(type='ProposalRetrieval'))
        self.meter = Meter(next(model.parameters()).device, clock)

    @torch.no_grad()
    def measure(self, path: str) -> tuple[dict[str, float], dict[str, float], int]:
        """Seconds and MiB of each stage of an image, and the number of its peaks.

        ``forward``, the backbone and the class response alone, is a part of ``cue`` and measured besides.
        """
        model, seconds, memory = self.model, {}, {}

        def stage(name: str, function: Callable, *args):
            result, seconds[name], memory[name] = self.meter(function, *args)
            return result

        packed = self.pipeline(dict(img_path=path, img_id=Path(path).stem))
        data = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]), False)
        inputs, (sample, ) = data['inputs'], data['data_samples']
        picture = mmcv.imread(path, channel_order='rgb')
        stage('forward', model._forward, inputs)
        feats, _, (cue, ) = stage('cue', model.find_cues, inputs, [sample])
        cue.iams, = stage('filling', model.fill, feats, [cue])
        image, cue = model.to_original(inputs[0], cue, sample)
        stage('crf', model.post_processor, cue, image, sample)
        equipped = DetDataSample(metainfo=sample.metainfo)
        equipped.set_field(stage('proposals', self.generate, picture), 'segment_proposals')
        stage('retrieval', self.retrieval, cue, image, equipped)
        return seconds, memory, len(cue)


def benchmark(stages: Stages, paths: list[str], repeats: int = 3, warmup: int = 1) -> dict:
    """Measure all images.

    Returns:
        dict: ``methods`` (name -> seconds of each stage, ``total`` and ``peak_memory_mib``), ``forward`` (seconds),
        ``filling_and_crf_over_cue`` and ``iam_over_prm_total`` (medians over images of the ratios), ``images`` (a list
        with path, peaks and seconds of each), ``paper``.
    """
    for _ in range(warmup):
        stages.measure(paths[0])
    images, memory = [], {}
    for path in paths:
        runs = [stages.measure(path) for _ in range(repeats)]
        images.append(dict(path=path, peaks=runs[0][2], seconds={
            name: median(seconds[name] for seconds, _, _ in runs) for name in runs[0][0]}))
        for _, used, _ in runs:
            for name, value in used.items():
                memory[name] = max(memory.get(name, value), value)
    table = [image['seconds'] for image in images]
    methods = {}
    for method, names in METHODS.items():
        methods[method] = {name: median(row[name] for row in table) for name in names}
        methods[method].update(total=median(sum(row[name] for name in names) for row in table),
                               peak_memory_mib=max(memory[name] for name in names))
    totals = [[sum(row[name] for name in names) for names in METHODS.values()] for row in table]
    return dict(methods=methods, forward=median(row['forward'] for row in table),
                peaks=median(image['peaks'] for image in images),
                filling_and_crf_over_cue=median((row['filling'] + row['crf']) / row['cue'] for row in table),
                iam_over_prm_total=median(iam / prm for prm, iam in totals),
                threads=torch.get_num_threads(), device=str(next(stages.model.parameters()).device),
                repeats=repeats, images=images, paper=PAPER)


def table(result: dict) -> str:
    """The figures as text."""
    columns = ('cue', 'filling', 'proposals', 'retrieval', 'crf', 'total')
    rows = [['s an image', 'feed-forward + PRMs', 'filling', 'proposals', 'retrieval', 'CRF', 'total', 'peak MiB']]
    for name, row in {**result['methods'], **PAPER}.items():
        cells = [f'{row[column]:.3f}' if column in row else '-' for column in columns]
        if 'cue_and_filling' in row:
            cells[:2] = [f'{row["cue_and_filling"]:.3f}', '(in it)']
        rows.append([name, *cells, f'{row["peak_memory_mib"]:.0f}' if 'peak_memory_mib' in row else '-'])
    return (f'{len(result["images"])} images, median {result["peaks"]:g} peaks, {result["device"]}, '
            f'{result["threads"]} threads; the forward pass alone: {result["forward"]:.3f} s\n' + AsciiTable(rows).table
            + f'\nfilling + CRF / (feed-forward + PRMs): {result["filling_and_crf_over_cue"]:.2f}'
            f'\ntotal of IAM / total of PRM: {result["iam_over_prm_total"]:.2f}')


def build_stages(config: Config, checkpoint: str | None, device: str, peaks: int | None,
                 clock: Callable = time.perf_counter) -> Stages:
    """Model and test pipeline of a config; ``peaks`` (the highest) for every image, if given."""
    if peaks is not None:
        config.model.peak_head.update(class_thr=-float('inf'), peak_thr=-float('inf'), relative_peak_thr=0.,
                                      max_peaks=peaks)
    if checkpoint is None:  # random weights
        init_default_scope('mmdet')
        config.model.backbone.init_cfg = None
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        model.init_weights()
        model.to(device).eval()
    else:
        model = init_model(config, checkpoint, device)
    steps = [step for step in config.test_dataloader.dataset.pipeline if step['type'] != 'LoadVOCInstances']
    return Stages(model, Compose(steps), clock=clock)


def parse_args(argv=None) -> argparse.Namespace:
    parser = model_parser(__doc__, checkpoint='?')
    parser.add_argument('--images', required=True, help='folder of images, an image, or a text file of paths')
    parser.add_argument('--num', type=int, default=10, help='images, evenly spread over the folder')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--warmup', type=int, default=1, help='runs on the first image that are not counted')
    parser.add_argument('--peaks', type=int, help='exactly so many peaks an image where it has them')
    parser.add_argument('--threads', type=int, help='threads of PyTorch on the CPU')
    parser.add_argument('--cpu-time', action='store_true',
                        help="time of the processor instead of the wall clock's, for one thread on a busy machine")
    parser.add_argument('--json', type=Path)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = given_config(args)
    peaks = 5 if args.checkpoint is None and args.peaks is None else args.peaks
    try:
        paths = image_files(args.images)
        step = max(len(paths) / max(args.num, 1), 1)
        paths = [paths[int(i * step)] for i in range(min(args.num, len(paths)))]
        clock = time.process_time if args.cpu_time else time.perf_counter
        stages = build_stages(config, args.checkpoint, args.device or get_device(), peaks, clock)
        result = benchmark(stages, paths, args.repeats, args.warmup)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(result))
    if args.json:
        atomic_write(args.json, json.dumps(result, indent=2).encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
