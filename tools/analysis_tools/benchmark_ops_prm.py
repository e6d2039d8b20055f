"""Time and memory of Peak Response Maps, against the usual way: one backward pass a peak by the same rule.

    python tools/analysis_tools/benchmark_ops_prm.py [--backbones resnet50 mobilenet_v2] [--json FILE]

The other side is written here with plain autograd and differs from the public way in nothing that takes time:
every convolution runs once for its value and once, differentiably, for Z; a pair of hooks applies Eq. 1. It is
run both ways in use, with the graph of one forward pass retained for all peaks and with a forward pass a peak.
Both sides take turns in one process; ratios are of medians. Memory is the growth of the resident set in a
process of its own.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmiam  # noqa: F401  (makes mmdet importable with the light mmcv)
from mmiam.ops.peak_backprop import trace

BACKBONES = ('resnet50', 'mobilenet_v2')
NUM_CLASSES = 20
FACTOR = 8  # of the response map's upsampling


class ClassResponse(nn.Module):
    """An mmdet backbone with random weights and statistics, a 1x1 head and bilinear upsampling."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        from mmdet.models import MobileNetV2, ResNet
        generator = torch.Generator().manual_seed(0)
        self.backbone = ResNet(50) if backbone == 'resnet50' else MobileNetV2()
        self.head = nn.Conv2d(2048 if backbone == 'resnet50' else 1280, NUM_CLASSES, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** .5
            elif isinstance(module, nn.BatchNorm2d):
                size = (module.num_features,)
                module.running_mean.copy_(torch.randn(size, generator=generator) * .2)
                module.running_var.copy_(torch.rand(size, generator=generator) + .5)
                module.weight.data = torch.rand(size, generator=generator) + .3
                module.bias.data = torch.randn(size, generator=generator) * .2
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        response = self.head(self.backbone(images)[-1])
        return F.interpolate(response, scale_factor=FACTOR, mode='bilinear', align_corners=True)


class _ShiftHook(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, offset):
        ctx.save_for_backward(x, offset)
        return x - offset

    @staticmethod
    def backward(ctx, grad):
        x, offset = ctx.saved_tensors
        return (x - offset) * grad, None


class _ShareHook(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, z):
        ctx.save_for_backward(z)
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        z, = ctx.saved_tensors
        share = grad / (z.abs() + 1e-10)
        share.masked_fill_(z < 1e-10, 0)
        return None, share


class PeakByPeak:
    """One backward pass a peak; patches the convolutions of a network while in use."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]

    def __enter__(self) -> PeakByPeak:
        for conv in self.convs:
            conv.forward = lambda x, conv=conv: self._conv(conv, x)
        return self

    def __exit__(self, *error) -> None:
        for conv in self.convs:
            del conv.forward

    @staticmethod
    def _conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
        value = conv._conv_forward(x, conv.weight, conv.bias).detach()
        shifted = _ShiftHook.apply(x, x.detach().min())
        z = conv._conv_forward(shifted, conv.weight.detach().relu(), None)
        return _ShareHook.apply(value, z)

    def maps(self, images: Tensor, peaks: Tensor, retain: bool) -> Tensor:
        """Maps of peaks of one image, (P, H, W), with one forward pass or with one a peak."""
        maps, response = [], None
        for peak in peaks.tolist():
            if response is None or not retain:
                leaf = images.clone().requires_grad_()
                response = self.network(leaf)
            leaf.grad = None
            seed = torch.zeros_like(response)
            seed[tuple(peak)] = 1
            response.backward(seed, retain_graph=retain)
            prm = leaf.grad[0].sum(0).clamp(min=0)
            maps.append(prm / prm.sum())
        return torch.stack(maps)


def all_at_once(network: nn.Module, images: Tensor, peaks: Tensor) -> Tensor:
    """This project's way: one recorded forward pass, all peaks in one backward pass."""
    recorded = trace(network, images)
    return recorded.backpropagate(recorded.output, peaks)


def make_peaks(size: int, count: int) -> Tensor:
    """Rows (0, class, y, x) spread over the response map, the same ones each time."""
    generator = torch.Generator().manual_seed(1)
    side = -(-size // 32) * FACTOR
    columns = [torch.zeros(count, dtype=torch.long), torch.randint(NUM_CLASSES, (count,), generator=generator),
               *torch.randint(side, (2, count), generator=generator)]
    return torch.stack(columns, 1)


def benchmark_prm(backbone: str = 'resnet50', size: int = 448, num_peaks: int = 8, repeats: int = 3,
                  memory: bool = True, log=print, clock=time.perf_counter) -> dict:
    """Compare both sides on one backbone.

    Args:
        backbone (str): ``'resnet50'`` or ``'mobilenet_v2'``.
        size (int): Side of the square image in pixels. Defaults to 448 (Sec. 4 of the paper).
        num_peaks (int): Number of peaks of the image. Defaults to 8.
        repeats (int): Timed turns of each side. Defaults to 3.
        memory (bool): Also measure memory, in processes of their own. Defaults to True.
        log (Callable): Takes lines about the progress.
        clock (Callable): Seconds; ``time.process_time`` counts those of the processor.

    Returns:
        dict: ``speedup`` against one backward pass a peak with the graph retained, forward passes included on
        both sides; ``speedup_vs_forward_backward``; ``max_rel_error`` (of a map's maximum); ``memory_ratio``
        (one peak there over all peaks here), ``memory_growth`` (all peaks over one peak, both here); and the
        medians in seconds and MiB they come from.
    """
    network, peaks = ClassResponse(backbone), make_peaks(size, num_peaks)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    with PeakByPeak(network) as other:
        expected = other.maps(images, peaks, retain=True)
    error = (all_at_once(network, images, peaks) - expected).abs().amax((1, 2)) / expected.amax((1, 2))
    result = dict(max_rel_error=error.max().item(), threads=torch.get_num_threads(), size=size, peaks=num_peaks)
    if not result['max_rel_error'] < 1e-5:
        raise AssertionError(f'{backbone}: both sides differ by {result["max_rel_error"]:.1e}')
    seconds: dict[str, list[float]] = dict(ours=[], retained=[], forward_backward=[])
    for _ in range(repeats):
        _timed(clock, seconds['ours'], lambda: all_at_once(network, images, peaks))
        with PeakByPeak(network) as other:
            _timed(clock, seconds['retained'], lambda other=other: other.maps(images, peaks, retain=True))
            _timed(clock, seconds['forward_backward'],
                   lambda other=other: other.maps(images, peaks, retain=False))
        log(f'  {backbone}: ' + ', '.join(f'{name} {times[-1]:.2f} s' for name, times in seconds.items()))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    result.update({f'seconds_{name}': value for name, value in medians.items()})
    result['speedup'] = medians['retained'] / medians['ours']
    result['speedup_vs_forward_backward'] = medians['forward_backward'] / medians['ours']
    if memory:
        result.update(_memory(backbone, size, num_peaks))
    return result


def _timed(clock, times: list[float], run) -> None:
    start = clock()
    run()
    times.append(clock() - start)


def _memory(backbone: str, size: int, num_peaks: int) -> dict:
    """Growth of the resident set in MiB, each side in a fresh process."""
    mib = {}
    for name, side, count in (('ours', 'ours', num_peaks), ('ours_one_peak', 'ours', 1),
                              ('retained_one_peak', 'retained', 1)):
        command = [sys.executable, os.path.abspath(__file__), '--memory-of', side, '--backbones', backbone,
                   '--size', str(size), '--peaks', str(count), '--threads', str(torch.get_num_threads())]
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = os.pathsep.join(part for part in (root, os.environ.get('PYTHONPATH')) if part)
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': path})
        if done.returncode:
            raise RuntimeError(f'measuring the memory of {name} failed:\n{done.stderr}')
        mib[name] = float(done.stdout.split()[-1])
    return dict(memory_ratio=mib['retained_one_peak'] / mib['ours'],
                memory_growth=mib['ours'] / mib['ours_one_peak'],
                **{f'mib_{name}': value for name, value in mib.items()})


def measure_memory(side: str, backbone: str, size: int, num_peaks: int) -> float:
    """Growth of this process's largest resident set while one image is processed, MiB (Linux)."""
    network, peaks = ClassResponse(backbone), make_peaks(size, num_peaks)
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))  # libraries loaded, threads started
    images = torch.randn(1, 3, size, size)
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')  # the largest resident set so far is forgotten
    before = _largest_resident_set()
    if side == 'ours':
        all_at_once(network, images, peaks)
    else:
        with PeakByPeak(network) as other:
            other.maps(images, peaks, retain=True)
    return _largest_resident_set() - before


def _largest_resident_set() -> float:
    """Of this process, in MiB."""
    with open('/proc/self/status') as file:
        line, = (line for line in file if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description='Time and memory of Peak Response Maps.')
    parser.add_argument('--backbones', nargs='+', choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument('--size', type=int, default=448, help='side of the image in pixels')
    parser.add_argument('--peaks', type=int, default=8, help='number of peaks')
    parser.add_argument('--repeats', type=int, default=3, help='timed turns of each side')
    parser.add_argument('--threads', type=int, default=2, help='number of CPU threads')
    parser.add_argument('--cpu-time', action='store_true',
                        help="time of the processor instead of the wall clock's, for one thread on a busy machine")
    parser.add_argument('--no-memory', action='store_true', help='time only')
    parser.add_argument('--json', help='write the results to this file')
    parser.add_argument('--memory-of', choices=('ours', 'retained'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(measure_memory(args.memory_of, args.backbones[0], args.size, args.peaks))
        return
    clock = time.process_time if args.cpu_time else time.perf_counter
    results = {backbone: benchmark_prm(backbone, args.size, args.peaks, args.repeats, not args.no_memory, clock=clock)
               for backbone in args.backbones}
    for backbone, result in results.items():
        print(backbone, *(f'{name}={value:.4g}' for name, value in result.items()))
    if args.json:
        temporary = args.json + '.part'
        with open(temporary, 'w') as file:
            json.dump(results, file, indent=2)
        os.replace(temporary, args.json)


if __name__ == '__main__':
    main()
