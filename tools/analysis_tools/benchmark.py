"""Speed and quality beside the usual way of doing the same thing, both measured in one run.

    python tools/analysis_tools/benchmark.py ops [--only filling conv_crf matching prm]
    python tools/analysis_tools/benchmark.py stages CONFIG [CHECKPOINT] --images DIR --num 6
    python tools/analysis_tools/benchmark.py prompts CONFIG CHECKPOINT --images DIR --num 6
    python tools/analysis_tools/benchmark.py crf CONFIG CHECKPOINT --num 60
    python tools/analysis_tools/benchmark.py export [MODEL] [--format onnx] [--images DIR --num 30]

ops: each operator against its plain form (plain_forms.py), equality checked first. stages: the columns of the paper's
Table 2, IAM and PRM with retrieval; both share the cue, reading and resizing are not counted, without a checkpoint
weights are random. prompts: opening an image, and nine clicks on it. crf: ConvCRF beside a dense CRF of the usual
settings on the same maps; masks are read for this comparison alone. export: an exported model beside torch, and the
largest difference of what they give; without --images on photographs of scikit-image. Figures are medians; --json
writes all of them; --threads and --device say on what.
"""
from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import mmcv
import numpy as np
import plain_forms
import skimage
import torch
import torch.nn.functional as F
from image_samples import batch_of, build_dataset, filled_cues, mask_iou, read_truth
from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.progress import track
from terminaltables import AsciiTable
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from mmiam.apis import PromptSession, find_images, init_model, load
from mmiam.apis.options import device_name, given_config, make_parser, tool
from mmiam.integrations.export import GRAPHS, WRITERS, export_model
from mmiam.ops.conv_crf import conv_crf
from mmiam.ops.extent_filling import extent_filling, normalize_filling_weights
from mmiam.ops.peak_backprop import Trace
from mmiam.proposals import match_proposals
from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.files import write_json
from mmiam.utils.images import read_image

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
#: seconds an image, Table 2 of the paper: networks and CRF on a Tesla P100, retrieval by public code on a CPU
PAPER = {
    'PRM with retrieval (paper)': dict(cue=0.05, retrieval=3.0, proposals=8.1, total=11.15),
    'IAM (paper)': dict(filling='0.070 with the cue', crf=0.3, total=0.37),
}
SKIMAGE = ('astronaut.png', 'chelsea.png', 'coffee.png', 'rocket.jpg')
METHODS = {'PRM with retrieval': ('cue', 'proposals', 'retrieval'), 'IAM': ('cue', 'filling', 'crf')}
# Largest difference over largest value at which two results still count as equal in float32. The CRF's iterations
# enlarge differences of rounding where labels are undecided.
TOLERANCE = dict(filling=1e-5, conv_crf=1e-3, matching=1e-5, prm=1e-5)


class Meter:
    """Time and peak memory of a call: ``meter(function, *args)`` -> (result, seconds, MiB).

    Memory is what the call adds to what was held before: on CUDA the allocator's peak; on the CPU the peak of resident
    memory, which Linux lets a process reset (elsewhere NaN). Memory that the allocator had kept from an earlier call is
    not seen as new, so that the figure of the CPU is a lower bound.
    """

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == 'cuda'

    def __call__(self, function: Callable, *args) -> tuple[Any, float, float]:
        before = self._peak(reset=True)
        start = time.perf_counter()
        result = function(*args)
        if self.cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        return result, seconds, (self._peak() - before) / 2**20

    def _peak(self, reset: bool = False) -> float:
        """Most memory since the last reset in bytes; right after one, what is held."""
        if self.cuda:
            torch.cuda.synchronize()
            if reset:
                torch.cuda.reset_peak_memory_stats()
            return torch.cuda.max_memory_allocated()
        try:
            if reset:
                Path('/proc/self/clear_refs').write_text('5')
            status = Path('/proc/self/status').read_text()
        except OSError:
            return float('nan')
        return 1024 * float(re.findall(r'VmHWM:\s+(\d+)', status)[0])


# -- ops --------------------------------------------------------------------------------------------------------------
def filling_case(num: int, backward: bool, device: str, size: int = 112, channels: int = 16) -> list[Callable]:
    """The paper's size: ``num`` instances, C = 16, r = 3, N = 112 steps on 112 x 112; ours and the plain form."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(num, channels, size, size, generator=generator)
    weights = normalize_filling_weights(torch.randn(1, channels * 9, size, size, generator=generator))
    features, weights, seed = (one.to(device) for one in (features, weights, features - .5))

    def run(fill: Callable) -> list[Tensor]:
        if not backward:
            with torch.no_grad():
                return [fill(features, weights, size)]
        inputs = [features.detach().requires_grad_(), weights.detach().requires_grad_()]
        filled = fill(*inputs, size)
        return [filled.detach(), *torch.autograd.grad(filled, inputs, seed)]

    return [lambda: run(extent_filling), lambda: run(plain_forms.unfold_filling)]


def conv_crf_case(blur: int, device: str, num: int = 5, size: tuple[int, int] = (375, 500)) -> list[Callable]:
    """``num`` instances with two labels on a smooth random image, K = 7, 5 iterations."""
    generator = torch.Generator().manual_seed(0)

    def smooth(channels: int, cell: int) -> Tensor:
        coarse = torch.randn(1, channels, *(max(2, n // cell) for n in size), generator=generator)
        return F.interpolate(coarse, size=size, mode='bicubic')[0].to(device)

    image = (smooth(3, 25) * 50 + 128 + smooth(3, 2) * 5).clamp(0, 255)
    logits = 3 * smooth(num, 40) - 1
    unary = torch.stack([-logits, logits], 1) / 2
    return [lambda: [conv_crf(unary, image, blur=blur)],
            lambda: [plain_forms.unfold_conv_crf_each(unary, image, blur=blur)]]


def matching_case(device: str, count: int = 1500, num: int = 5, size: int = 448) -> list[Callable]:
    """``count`` proposals of a random image of texture patches, with about as many superpixels as a photograph."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 120, (size // 24 + 1, size // 24 + 1, 3)).repeat(24, 0).repeat(24, 1)[:size, :size]
    image = (cells + rng.integers(0, 30, (size, size, 3))).astype(np.uint8)
    proposals = SelectiveMerging(area_range=(1e-4, 0.98), duplicate_iou=0.999, max_proposals=count)(image)
    prms = torch.rand(num, size, size, generator=torch.Generator().manual_seed(0))**8
    prms = (prms / prms.sum((1, 2), keepdim=True)).to(device)

    def ours() -> list[Tensor]:
        proposals.cache.clear()  # nothing is kept from the call before
        return [match_proposals(prms, proposals)[0]]

    return [ours, lambda: [plain_forms.dense_matching(prms, proposals)]]


def prm_case(config: str, device: str, retain: bool = True, size: int = 448, num: int = 8) -> list[Callable]:
    """Peak Response Maps of ``num`` peaks of a config's network with random weights, against a backward pass a peak;
    forward passes count on both sides."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / config).model
    cfg.backbone.init_cfg = None
    torch.manual_seed(0)
    network = MODELS.build(cfg).to(device).eval()
    images = torch.randn(1, 3, size, size).to(device)
    classes, side = cfg.peak_head.num_classes, -(-size // 32) * cfg.peak_head.sub_pixel
    peaks = torch.stack([torch.zeros(num, dtype=torch.long), torch.randint(classes, (num, )),
                         *torch.randint(side, (2, num))], 1).to(device)

    def ours() -> list[Tensor]:
        recorded = Trace(network, images)
        return [recorded.backpropagate(recorded.output, peaks)]

    return [ours, lambda: [plain_forms.peak_by_peak(network, images, peaks, retain)]]


CASES = {
    'filling': {f'{"forward and backward" if backward else "forward"}, {num} instance{"s" * (num > 1)}':
                (filling_case, dict(num=num, backward=backward)) for num in (1, 8) for backward in (False, True)},
    'conv_crf': {f'500x375, K=7, blur {blur}, 5 instances': (conv_crf_case, dict(blur=blur)) for blur in (4, 1)},
    'matching': {'1500 proposals, 5 maps, 448x448': (matching_case, {})},
    'prm': {f'{backbone}, 8 peaks, {"graph retained" if retain else "a forward pass a peak"}':
            (prm_case, dict(config=config, retain=retain))
            for backbone, config in (('ResNet-50', 'iam_r50_voc.py'), ('MobileNetV2', 'iam_mbv2_voc.py'))
            for retain in (True, False)},
}


def run_ops(args: argparse.Namespace) -> tuple[dict, list]:
    """Each case: equality, then seconds and MiB of both sides and the ratios."""
    rows, clock = [], dict(timer=time.process_time) if args.cpu_time else {}
    meter = Meter(args.device)
    for name in args.only:
        for case, (make, settings) in CASES[name].items():
            sides = make(**settings, device=args.device)
            (ours, _, our_mib), (plain, _, plain_mib) = (meter(side) for side in sides)
            error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, plain))
            if not error <= TOLERANCE[name]:
                raise ValueError(f'{name}, {case}: results differ by {error:.1e}')
            timers = [Timer('side()', globals=dict(side=side), num_threads=torch.get_num_threads(), **clock)
                      for side in sides]
            seconds = [timer.blocked_autorange(min_run_time=args.seconds).median for timer in timers]
            rows.append(dict(operator=name, case=case, plain_seconds=seconds[1], seconds=seconds[0],
                             speedup=seconds[1] / seconds[0], plain_mib=plain_mib, mib=our_mib, max_rel_error=error))
            print(f'{name}, {case}: {rows[-1]["speedup"]:.1f} times', file=sys.stderr, flush=True)
    head = ['operator', 'case', 'plain s', 'ours s', 'speed-up', 'plain MiB', 'ours MiB', 'error']
    return dict(cases=rows), [head, *(
        [row['operator'], row['case'], f'{row["plain_seconds"]:.3f}', f'{row["seconds"]:.3f}', f'{row["speedup"]:.1f}',
         f'{row["plain_mib"]:.0f}', f'{row["mib"]:.0f}', f'{row["max_rel_error"]:.0e}'] for row in rows)]


# -- a model on images ------------------------------------------------------------------------------------------------
def spread(paths: list, number: int | None) -> list:
    """``number`` of them, evenly spread; all for None."""
    step = max(len(paths) / max(number or len(paths), 1), 1)
    return [paths[int(i * step)] for i in range(min(number or len(paths), len(paths)))]


def build_model(args: argparse.Namespace) -> tuple[nn.Module, Any]:
    """Model and config; with random weights, and five peaks an image, if there is no checkpoint."""
    config = given_config(args)
    peaks = getattr(args, 'peaks', None) or (None if args.checkpoint else 5)
    if peaks:
        config.model.peak_head.update(class_thr=-float('inf'), peak_thr=-float('inf'), relative_peak_thr=0.,
                                      max_peaks=peaks)
    if args.checkpoint:
        return init_model(config, args.checkpoint, args.device), config
    init_default_scope('mmdet')
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.to(args.device).eval(), config


@torch.no_grad()
def time_stages(model: nn.Module, pipeline: Compose, path: str, meter: Meter) -> dict[str, tuple[float, float]]:
    """(seconds, MiB) of each stage of an image; ``forward``, the class response alone, is a part of ``cue``."""
    used = {}

    def stage(name: str, function: Callable, *args):
        result, *used[name] = meter(function, *args)
        return result

    inputs, samples = batch_of(model, pipeline(dict(img_path=path, img_id=Path(path).stem)))
    stage('forward', model._forward, inputs)
    feats, _, (cue, ) = stage('cue', model.find_cues, inputs, samples)
    used['peaks'] = len(cue), 0
    cue.iams, = stage('filling', model.fill, feats, [cue])
    image, cue = model.to_original(inputs[0], cue, samples[0])
    stage('crf', model.post_processor, cue, image, samples[0])
    equipped = DetDataSample(metainfo=samples[0].metainfo)
    picture = mmcv.imread(path, channel_order='rgb')
    equipped.set_field(stage('proposals', SelectiveMerging(), picture), 'segment_proposals')
    stage('retrieval', MODELS.build(dict(type='ProposalRetrieval')), cue, image, equipped)
    return used


def run_stages(args: argparse.Namespace) -> tuple[dict, list]:
    """Table 2: medians over images of each stage's median over repeats, so that the columns need not add up."""
    paths = spread(find_images(args.images), args.num)
    model, config = build_model(args)
    if model.filler is None:
        raise ValueError('the config has no filler: model.filler = None stops at the Peak Response Maps')
    steps = [step for step in config.test_dataloader.dataset.pipeline if step['type'] != 'LoadVOCInstances']
    pipeline, meter = Compose(steps), Meter(args.device)
    time_stages(model, pipeline, paths[0], meter)  # warm-up
    runs = [[time_stages(model, pipeline, path, meter) for _ in range(args.repeats)] for path in paths]
    images = [{name: median(run[name][0] for run in one) for name in one[0]} for one in runs]
    memory = {name: max(run[name][1] for one in runs for run in one) for name in images[0]}
    methods = {method: dict({name: median(image[name] for image in images) for name in names},
                            total=median(sum(image[name] for name in names) for image in images),
                            peak_mib=max(memory[name] for name in names)) for method, names in METHODS.items()}
    prm, iam = ([sum(image[name] for name in names) for image in images] for names in METHODS.values())
    result = dict(
        methods=methods, forward=median(image['forward'] for image in images), paper=PAPER,
        filling_and_crf_over_cue=median((image['filling'] + image['crf']) / image['cue'] for image in images),
        iam_over_prm_total=median(a / b for a, b in zip(iam, prm)),
        images=[dict(path=path, **image) for path, image in zip(paths, images)])
    columns = ('cue', 'filling', 'proposals', 'retrieval', 'crf', 'total', 'peak_mib')
    rows = [[name, *(f'{row[column]:.3f}' if isinstance(row.get(column), float) else row.get(column, '-')
                     for column in columns)] for name, row in {**methods, **PAPER}.items()]
    notes = [f'{name}: {result[name]:.3f}' for name in ('forward', 'filling_and_crf_over_cue', 'iam_over_prm_total')]
    return result, [['s an image', *columns], *rows, [', '.join(notes)]]


def run_prompts(args: argparse.Namespace) -> tuple[dict, list]:
    """What a user waits for: opening an image (reading, backbone), then a click on each cell of a grid of 3 x 3."""
    paths = spread(find_images(args.images), args.num)
    model, meter, images = build_model(args)[0], Meter(args.device), []
    for path in [paths[0], *paths]:
        session, opening, _ = meter(PromptSession, model, path)
        height, width = mmcv.imread(path).shape[:2]
        points = [((column + .5) * width / 3, (row + .5) * height / 3) for row in range(3) for column in range(3)]
        clicks = [meter(session, [dict(point=point)])[1] for point in points]
        images.append(dict(path=path, size=[height, width], opening=opening, clicks=clicks))
    images = images[1:]  # the first time was the warm-up
    clicks = [seconds for image in images for seconds in image['clicks']]
    result = dict(opening_ms=1e3 * median(image['opening'] for image in images), click_ms=1e3 * median(clicks),
                  slowest_click_ms=1e3 * max(clicks), clicks=len(clicks), images=images)
    return result, [['images', 'opening an image, ms', 'a click, ms', 'slowest, ms'],
                    [len(images), *(f'{result[key]:.0f}' for key in ('opening_ms', 'click_ms', 'slowest_click_ms'))]]


def run_export(args: argparse.Namespace) -> tuple[dict, list]:
    """An exported model beside torch: largest differences, and the time of a photo."""
    paths = find_images(args.images) if args.images else [
        str(Path(skimage.__file__).parent / 'data' / name) for name in SKIMAGE]
    model, meter, images = load(args.model, 'cpu', maps=True).model, Meter('cpu'), []
    with tempfile.TemporaryDirectory() as folder:
        export_model(model, folder, args.format)
        graph = open_graph(f'{folder}/photo', args.format)
        for path in spread(paths, args.num):
            photo = read_image(path)
            sides = (inference_detector, model, np.ascontiguousarray(photo[..., ::-1])), (graph, photo)
            runs = [[meter(*side)[:2] for side in sides] for _ in range(3)]
            expected, found = (run[0] for run in runs[-1])
            instances, found = expected.pred_instances, dict(zip(GRAPHS['photo'][1], found))
            pairs = [('class_scores', expected.pred_class_scores)]
            same = found['labels'].tolist() == instances.labels.tolist()
            if same:
                cams = instances.cams.relu()
                pairs += [('scores', instances.scores), ('cams', cams / cams.amax((1, 2), keepdim=True).clamp(min=1)),
                          ('cues', instances.maps), ('iams', instances.iams), ('peak_scores', instances.peak_scores)]
            row = {name: float((found[name] - value).abs().max()) for name, value in pairs if value.numel()}
            row['largest_peak'] = float(instances.peak_scores.max()) if len(instances) else 0.
            row['mask_pixels'] = int((found['masks'] != instances.masks).sum()) if same else 0
            images.append(dict(path=path, instances=len(instances), same_instances=same, differences=row,
                               torch=median(run[0][1] for run in runs), graph=median(run[1][1] for run in runs)))
    rows = [image['differences'] for image in images]  # of an image without instances they are fewer
    names = dict.fromkeys(name for row in rows for name in row)
    worst = {name: max(row.get(name, 0) for row in rows) for name in names}
    result = dict(images=images, largest_differences=worst, instances=sum(image['instances'] for image in images),
                  others=sum(not image['same_instances'] for image in images),
                  torch=median(image['torch'] for image in images), graph=median(image['graph'] for image in images),
                  ratio=median(image['graph'] / image['torch'] for image in images))
    return result, [['images', 'instances', 'images with others', 'torch s', f'{args.format} s', 'ratio'],
                    [len(images), result['instances'], result['others'], *(f'{result[key]:.3f}' for key in (
                        'torch', 'graph', 'ratio'))],
                    ['largest', *(f'{name} {value:.1e}' for name, value in worst.items())]]


def open_graph(path: str, form: str) -> Callable:
    """A function of a photo that runs an exported graph, its outputs as tensors."""
    if form == 'torchscript':
        module = torch.jit.load(f'{path}.pt')
        return lambda photo: module(torch.from_numpy(photo))
    if form == 'openvino':
        import openvino
        compiled = openvino.compile_model(f'{path}.xml', 'CPU', dict(
            INFERENCE_PRECISION_HINT='f32', INFERENCE_NUM_THREADS=torch.get_num_threads()))
        return lambda photo: [torch.from_numpy(value.copy()) for value in compiled([photo]).values()]
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(f'{path}.onnx', options)
    return lambda photo: [torch.from_numpy(value) for value in session.run(None, dict(image=photo))]


# -- quality beside time ----------------------------------------------------------------------------------------------
def dense_crf(logits: Tensor, image: Tensor) -> np.ndarray:
    """Foreground of each map (n, H, W), bool, by the dense CRF of Kraehenbuehl and Koltun (2011), one map at a time,
    with the usual settings of DeepLab: sxy 3 and compat 3; sxy 80, srgb 13 and compat 10; five iterations."""
    from pydensecrf.densecrf import DenseCRF2D
    colors = np.ascontiguousarray(image.permute(1, 2, 0).round().byte().numpy())
    masks = np.zeros(tuple(logits.shape), bool)
    for mask, one in zip(masks, logits):
        crf = DenseCRF2D(colors.shape[1], colors.shape[0], 2)
        energy = -torch.stack([F.logsigmoid(-one), F.logsigmoid(one)]).flatten(1)
        crf.setUnaryEnergy(np.ascontiguousarray(energy.numpy().astype(np.float32)))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=colors, compat=10)
        mask[:] = np.array(crf.inference(5)).argmax(0).reshape(mask.shape)
    return masks


def best_overlaps(masks: np.ndarray, labels: np.ndarray, truth: np.ndarray, classes: np.ndarray) -> list[float]:
    """Best IoU of each instance (g, H, W) with a mask (n, H, W) of its class, 0 where there is none."""
    return [float(mask_iou(instance, masks[labels == label]).max(initial=0)) for instance, label in zip(truth, classes)]


@torch.no_grad()
def run_crf(args: argparse.Namespace) -> tuple[dict, list]:
    """Mean over instances of the best IoU, and time, of the same maps unrefined, by ConvCRF and by a dense CRF."""
    try:
        import pydensecrf  # noqa: F401
    except ImportError as error:
        raise ValueError('the comparison needs a dense CRF: pip install pydensecrf2') from error
    model, config = build_model(args)
    post = model.post_processor
    if getattr(post, 'crf', None) is None:
        raise ValueError('the config needs a ConvCRFPostProc whose crf is not None')
    dataset, meter, shift = build_dataset(config.test_dataloader.dataset), Meter('cpu'), float(
        torch.logit(torch.tensor(post.mask_thr)))
    refinements = {'none': lambda logits, image: (logits > shift).numpy(),
                   'ConvCRF': lambda logits, image: post.foreground(logits, image).numpy(),
                   'dense CRF': lambda logits, image: dense_crf(logits - shift, image)}
    overlaps, seconds, count = {name: [] for name in refinements}, dict.fromkeys(refinements, 0.), 0
    for index in track(spread(range(len(dataset)), args.num), 'images'):
        image, cue, sample, _ = filled_cues(model, dataset[index])
        logits = post.resize_maps(cue.iams, tuple(image.shape[-2:])).cpu()
        truth, classes, _ = read_truth(sample)
        count += len(logits)
        for name, refine in refinements.items():
            masks, taken, _ = meter(refine, logits, image.cpu())
            seconds[name] += taken
            overlaps[name] += best_overlaps(masks, cue.labels.cpu().numpy(), truth, classes)
    result = {name: dict(best_overlap=float(np.mean(overlaps[name])), ms_a_map=1e3 * seconds[name] / max(1, count),
                         instances=len(overlaps[name]), maps=count) for name in refinements}
    return result, [[f'{count} maps', f'best overlap of {len(overlaps["none"])} instances (%)', 'ms a map'], *(
        [name, f'{100 * row["best_overlap"]:.1f}', f'{row["ms_a_map"]:.1f}'] for name, row in result.items())]


# -- the command ------------------------------------------------------------------------------------------------------
@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    of_model, found = ('config', 'checkpoint', '--cfg-options'), {}
    for name, run, shared in (('ops', run_ops, ()), ('stages', run_stages, ('config', 'checkpoint?', '--cfg-options')),
                              ('prompts', run_prompts, of_model), ('crf', run_crf, of_model),
                              ('export', run_export, ())):
        one = found[name] = commands.add_parser(name, help=run.__doc__, conflict_handler='resolve',
                                                parents=[make_parser(None, *shared, '--device', '--json')])
        one.set_defaults(run=run)
        one.add_argument('--threads', type=int, help="of torch on the CPU; default: its own choice")
        if name in ('stages', 'prompts', 'export'):
            one.add_argument('--images', required=name != 'export',
                             help='folder of images, an image, or a text file of paths')
        if name != 'ops':
            one.add_argument('--num', type=int, default=6 if name in ('stages', 'prompts') else None,
                             help='images, evenly spread; default of crf: all')
    found['export'].add_argument('model', nargs='?', default='voc20', help='as of mmiam export')
    found['export'].add_argument('--format', choices=list(WRITERS), default='onnx')
    found['ops'].add_argument('--only', nargs='+', choices=CASES, default=list(CASES))
    found['ops'].add_argument('--seconds', type=float, default=1., help='least time of measuring a side')
    found['ops'].add_argument('--cpu-time', action='store_true', help="the processor's time, for a busy machine")
    found['stages'].add_argument('--repeats', type=int, default=3)
    found['stages'].add_argument('--peaks', type=int, help='exactly so many peaks an image where it has them')
    args = parser.parse_args(argv)
    args.device = device_name(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    result, rows = args.run(args)
    where = dict(command=args.command, device=args.device, threads=torch.get_num_threads(), torch=torch.__version__)
    print(AsciiTable(rows, f'{args.device}, {where["threads"]} threads').table)
    if args.json:
        write_json(args.json, {**where, **result})


if __name__ == '__main__':
    sys.exit(main())
