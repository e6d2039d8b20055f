"""Models as files for ONNX Runtime, OpenVINO and TorchScript: from a photo to masks, and masks at clicks.

There are two graphs, because a person who clicks waits for each answer: ``photo`` runs the network once and returns
what it recognized, together with the state that ``click`` needs to fill and refine any number of further prompts.

The network itself is traced, at the input size of its test pipeline, so everything that depends on that size is a
constant; the size of the photo and the number of instances are free. The steps that depend on these two are rewritten
here with operators that every runtime has: filling, ConvCRF, regions and removal of duplicates. Tests compare the
results with the model's predictions.

Legend: H0 x W0 photo, H x W network input, C classes, c channels, h x w encoded size, n instances.
"""
from __future__ import annotations

import copy
import inspect
import os.path as osp
import tempfile
import warnings

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn

from mmiam.models.cues import PeakGaussianCue, PromptCue
from mmiam.models.cues.blobs import draw_gaussians
from mmiam.models.fillers import keep_surer_maps, widen_cues
from mmiam.models.heads import SoftmaxHead
from mmiam.models.postprocessors import ConvCRFPostProc
from mmiam.models.postprocessors.regions import label_regions
from mmiam.ops.class_maps import class_maps_over_image, pixel_positions
from mmiam.ops.peak_stimulation import local_maxima, peak_threshold
from mmiam.utils.files import atomic_write, write_json

from .annotator import need

#: inputs and outputs of the graphs, with the names of their free axes
STATE = dict(weights={}, context={}, guide={})
MASKS = dict(scores={0: 'n'}, boxes={0: 'n'}, masks={0: 'n', 1: 'height', 2: 'width'}, iams={0: 'n'}, cues={0: 'n'})
GRAPHS: dict[str, tuple[dict, dict]] = dict(
    photo=(dict(image={0: 'height', 1: 'width'}),
           dict(class_scores={}, labels={0: 'n'}, **MASKS, peaks={0: 'n'}, peak_scores={0: 'n'}, cams={0: 'n'},
                **STATE)),
    click=(dict(**STATE, size={}, prompts={0: 'n'}), MASKS))


# ---------------------------------------------------------------- operators with free sizes
def resize_photo(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a photo, uint8 (H0, W0, 3) -> int64 (H, W, 3), bit for bit as the test pipeline does with OpenCV.

    OpenCV's bilinear resizing rounds weights to 1/2048 and cuts four bits off before the second axis. A plain bilinear
    interpolation is off by one in a few pixels, which changes the logits by more than rounding does.
    """
    full = torch._shape_as_tensor(image)
    (top, bottom, rows), (left, right, columns) = (_taps(full[axis], size[axis], axis == 1) for axis in (0, 1))
    image = image.long()
    halves = []
    for index in (top, bottom):
        line = image.index_select(0, index)
        mixed = (line.index_select(1, left) * (2048 - columns)[:, None]
                 + line.index_select(1, right) * columns[:, None])
        halves.append(torch.div(mixed, 16, rounding_mode='floor'))
    rows = rows[:, None, None]
    parts = [torch.div(half * weight, 65536, rounding_mode='floor')
             for half, weight in zip(halves, (2048 - rows, rows))]
    return torch.div(parts[0] + parts[1] + 2, 4, rounding_mode='floor')


def _taps(length: Tensor, out: int, columns: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels before and after each of ``out`` places, and 2048 times the weight of the latter."""
    places = ((torch.arange(out, dtype=torch.float64) + 0.5) * (length.double() / out) - 0.5).float()
    first = places.floor()
    share = places - first
    first = first.long()
    if columns:  # beyond the border, OpenCV sets the weights of columns to 0, but reads the same row twice
        share = share * ((first >= 0) & (first < length - 1))
    zero = torch.zeros_like(length)
    return (torch.minimum(torch.maximum(first, zero), length - 1),
            torch.minimum(torch.maximum(first + 1, zero), length - 1), (share * 2048).round().long())


def linear_weights(out: Tensor, length: int) -> Tensor:
    """Compute the weights (out, length) of bilinear resizing with antialiasing along an axis."""
    scale = length / out.double()
    centers = (torch.arange(out, dtype=torch.float64) + 0.5) * scale
    distance = torch.arange(length, dtype=torch.float64) + 0.5 - centers[:, None]
    weights = (1 - distance.abs() / scale.clamp(min=1.)).relu()
    return (weights / weights.sum(1, keepdim=True)).float()


def area_weights(out: int | Tensor, length: int | Tensor) -> Tensor:
    """Compute the weights (out, length) of adaptive average pooling along an axis."""
    places, cells = torch.arange(length), torch.arange(out)[:, None]
    first = torch.div(cells * length, out, rounding_mode='floor')
    after = torch.div((cells + 1) * length + out - 1, out, rounding_mode='floor')
    inside = ((places >= first) & (places < after)).float()
    return inside / inside.sum(1, keepdim=True)


@torch.jit.script
def sum_neighbors(values: Tensor, weights: Tensor, side: int) -> Tensor:
    """Sum weight times neighbor over a window (side x side): values (n, c, h, w), weights (side * side, c, h, w)."""
    h, w, span = values.shape[2], values.shape[3], side // 2
    around = F.pad(values, [span, span, span, span])
    total = torch.zeros_like(values)
    for y in range(side):
        band = around[:, :, y:y + h]
        for x in range(side):
            total = total + band[:, :, :, x:x + w] * weights[y * side + x]
    return total


@torch.jit.script
def fill(values: Tensor, weights: Tensor, steps: int) -> Tensor:
    """Apply Eq. 3 ``steps`` times: values (n, c, h, w), weights (c, 9, h, w)."""
    weights = weights.transpose(0, 1)
    for _ in range(steps):
        values = sum_neighbors(values, weights, 3)
    return values


@torch.jit.script
def not_suppressed(overlaps: Tensor) -> Tensor:
    """Suppress greedily, best first: bool (n, n), true where i overlaps the later j -> bool (n,), true where kept."""
    alive = torch.ones(overlaps.shape[0], dtype=torch.bool)
    for i in range(overlaps.shape[0]):
        alive = alive & ~(overlaps[i] & alive[i])
    return alive


def conv_crf(logits: Tensor, image: Tensor, kernel_size: int = 7, blur: int = 4, num_iters: int = 5,
             pos_sigma: float = 3., pos_compat: float = 3., col_sigma: float = 13., col_compat: float = 10.,
             weight: float = .2, unary_weight: float = 1., mode: str = 'reference') -> Tensor:
    """Compute :func:`mmiam.ops.conv_crf` for two labels in one plane: logits (n, H, W) -> logits of the result.

    Args:
        logits (Tensor): logits of the foreground, has shape (n, H, W).
        image (Tensor): RGB, in [0, 255], has shape (3, H, W).

    For the other arguments see there.
    """
    reference = mode == 'reference'
    full = torch._shape_as_tensor(image)[1:]
    cells = torch.div(full + blur - 1, blur, rounding_mode='floor')
    lacking = cells * blur - full
    start = torch.div(lacking + 1, 2, rounding_mode='floor')
    pads = [start[1], lacking[1] - start[1], start[0], lacking[0] - start[0]]

    def pool(planes: Tensor) -> Tensor:  # means over those pixels of each cell that lie inside the image
        return F.avg_pool2d(F.pad(planes, pads), blur) / share

    edges = [(torch.arange(number + 1) * blur - first).clamp(min=0).minimum(length).float()
             for number, first, length in zip(cells, start, full)]
    heights, widths = (edge[1:] - edge[:-1] for edge in edges)
    share = heights[:, None] * widths / blur**2
    rows, columns = ((edge[1:] + edge[:-1] - 1) / 2 for edge in edges)
    places = torch.stack([rows[:, None].expand_as(share), columns.expand_as(share)])[:, None]
    picked = torch.eye(kernel_size**2).view(-1, 1, kernel_size, kernel_size)
    center = picked[kernel_size**2 // 2]  # subtracted within the convolution: OpenVINO fails on a subtraction after it

    def distance(planes: Tensor) -> Tensor:  # squared, to each neighbor: (k, 1, h, w) -> (K * K, h, w)
        return F.conv2d(planes, picked - center, padding=kernel_size // 2).square().sum(0)

    inside = F.conv2d(torch.ones_like(places[:1]), picked, padding=kernel_size // 2)[0]
    colors = pool(image[:, None])
    kernels = (pos_compat * torch.exp(-0.5 / pos_sigma**2 * distance(places))
               + col_compat * torch.exp(-0.5 / col_sigma**2 * distance(colors))) * inside * weight
    if not reference:  # a cell is not its own neighbor
        kernels = kernels * (1 - torch.eye(kernel_size**2)[kernel_size**2 // 2])[:, None, None]
    keep = unary_weight - weight if reference else unary_weight
    logits = logits[:, None]
    labels, result = pool(logits if reference else 2 * logits.sigmoid() - 1), logits
    for iteration in range(num_iters):
        if iteration:
            labels = 2 * pool(result.sigmoid()) - 1
        message = F.interpolate(sum_neighbors(labels, kernels, kernel_size), scale_factor=float(blur), mode='bilinear',
                                align_corners=False)
        result = keep * logits + message[:, :, start[0]:start[0] + full[0], start[1]:start[1] + full[1]]
    return result[:, 0]


# ---------------------------------------------------------------- the graphs
class Filling(nn.Module):
    """Steps 3 and 4 (fill, refine), without the image: state, cues (n, H, W), evidence (n,) -> :data:`MASKS`."""

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        filler = copy.deepcopy(model.filler)
        self.encoder, self.decoder = filler.encoder.folded(), filler.decoder.folded()
        self.stride, self.refine, self.refill = filler.pooling, model.post_processor, model.test_cfg['refill']
        self.encoded: tuple = tuple(self.encode(torch.zeros(1, *size)).shape[-2:])
        self.num_steps = max(self.encoded) if filler.num_steps is None else filler.num_steps

    def encode(self, cues: Tensor) -> Tensor:
        """Encode cues: (n, H, W) -> (n, c, h, w)."""
        pooled = F.avg_pool2d(cues[:, None], self.stride, ceil_mode=True) if self.stride > 1 else cues[:, None]
        return self.encoder(pooled / pooled.amax((2, 3), keepdim=True).clamp(min=torch.finfo(cues.dtype).tiny))

    def logits(self, weights: Tensor, context: Tensor, cues: Tensor) -> Tensor:
        """Compute Instance Activation Maps (n, H, W) as logits, like :meth:`InstanceExtentFiller.forward`."""
        filled = fill(self.encode(cues), weights, self.num_steps)
        filled = torch.cat([filled, context * torch.ones_like(filled[:, :1])], dim=1)
        logits = self.decoder(filled)
        if self.stride > 1:
            logits = F.interpolate(logits, scale_factor=float(self.stride), mode='bilinear', align_corners=False)
        return logits[:, 0, :cues.shape[1], :cues.shape[2]]

    def forward(self, weights: Tensor, context: Tensor, guide: Tensor, size: Tensor, cues: Tensor, evidence: Tensor
                ) -> tuple[Tensor, ...]:
        refine = self.refine
        logits = self.logits(weights, context, cues)
        if self.refill:
            logits = keep_surer_maps(logits, self.logits(weights, context, widen_cues(cues, logits, self.refill)))
        full = resize(logits, size)
        # ConvCRF and regions work at the size of the photo, limited to max_side; the result is enlarged
        longest = float(refine.max_side or 2**24)
        scale = (longest / size.max().double()).clamp(max=1.)
        small = (size * scale).round().long().clamp(min=1)
        result = resize(full, small) - torch.logit(torch.tensor(refine.mask_thr)).item()
        if refine.crf is not None:
            resized = [area_weights(out, length) @ linear_weights(length, side)
                       for out, length, side in zip(small, size, guide.shape[1:])]
            image = (resized[0] @ guide @ resized[1].T).clamp(0, 255)
            result = 2 * conv_crf(result, image, **refine.crf).sigmoid() - 1
        if refine.region == 'cue':
            result = keep_cue_region(result, resize(resize(cues, size), small))
        masks = resize(result, size) > 0
        scores = (evidence / refine.temperature).sigmoid() * refine.mean_inside(full.sigmoid(), masks)
        boxes = refine.tight_boxes(masks).float() * masks.flatten(1).any(1, keepdim=True)  # zeros for an empty mask
        return scores, boxes, masks, logits.sigmoid(), cues


def resize(maps: Tensor, size: Tensor) -> Tensor:
    """Resize maps bilinearly: (n, h, w) -> (n, *size)."""
    return F.interpolate(maps[:, None], size=[size[0], size[1]], mode='bilinear', align_corners=False)[:, 0]


def keep_cue_region(result: Tensor, cues: Tensor) -> Tensor:
    """Negate positive values outside the region that holds most of the cue; result and cues (n, H, W)."""
    masks = result > 0
    labels = torch.jit.script(label_regions)(masks)
    mass = torch.zeros_like(F.pad(cues.flatten(), (1, 0))).scatter_add(0, labels.flatten(), cues.flatten())[1:]
    highest, best = mass.view_as(cues).flatten(1).max(1)
    first = torch.arange(masks.shape[0]) * masks.shape[1] * masks.shape[2]
    kept = (labels == (best + first + 1)[:, None, None]) | (highest <= 0)[:, None, None]
    return torch.where(masks & ~kept, -result, result)


class PhotoGraph(nn.Module):
    """Graph of a photo's prediction and the state for clicks: RGB, uint8 (H0, W0, 3) -> ``GRAPHS['photo']``."""

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size, self.filling = model, size, Filling(model, size)
        hooks = [conv.register_forward_hook(fix_padding) for conv in model.modules()
                 if isinstance(conv, Conv2dAdaptivePadding)]
        feats, response = self.respond(torch.zeros(3, *size))
        for hook in hooks:
            hook.remove()
        # plain numbers, because the tracer records whatever is computed from a tensor's shape
        self.cells, self.response = tuple(feats[-1].shape[-2:]), tuple(response.shape[-2:])
        self.offset = model.cell_offset(size)
        self.rows, self.columns = (self.resampling(axis) for axis in (0, 1))

    def resampling(self, axis: int) -> Tensor:
        """Compute the weights of :func:`class_maps_over_image`, a bilinear map, along an axis: (H, h') or (W, w')."""
        sides, cells, size, offset = [1, 1], [1, 1], [1, 1], [0, 0]
        for values, own in zip((sides, cells, size, offset), (self.response, self.cells, self.size, self.offset)):
            values[axis] = own[axis]
        units = torch.eye(sides[axis]).view(-1, *sides)
        places = [(values[0], values[1]) for values in (cells, size, offset)]
        return class_maps_over_image(units, *places).flatten(1).T.contiguous()

    def respond(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Compute features and class response of an image (3, H, W), RGB in [0, 255]."""
        preprocessor = self.model.data_preprocessor
        feats = self.model.extract_feat((image[None] - preprocessor.mean) / preprocessor.std)
        return feats, self.model.peak_head(feats)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        model, full = self.model, torch._shape_as_tensor(image)[:2]
        guide = resize_photo(image, self.size).reshape(*self.size, 3).permute(2, 0, 1).float()
        feats, response = self.respond(guide)
        class_scores, labels, places, peak_scores, evidence = find_peaks(model.peak_head, response)
        places = pixel_positions(places, self.response, self.cells, self.size, self.offset)
        cues = draw_gaussians(places, model.cue.sigma * (self.size[0] * self.size[1])**0.5, self.size)
        cams = (self.rows @ response[0, labels] @ self.columns.T).relu()
        cams = cams / cams.amax((1, 2), keepdim=True).clamp(min=1.)  # as in pictures, without stretching noise
        feats = tuple(self.pool(feat) for feat in feats)
        weights = model.filler.filling_weights(feats, self.filling.encoded)[0]
        context = torch.zeros(0, *self.filling.encoded) if model.filler.context is None else model.filler.context(
            model.filler.levels(feats), self.filling.encoded).relu()[0]
        if model.post_processor.class_evidence == 'peak':
            evidence = peak_scores
        scores, boxes, masks, iams, cues = self.filling(weights, context, guide, full, cues, evidence)

        keep = self.keep(scores, masks, labels)
        peaks = (places.flip(1) + 0.5) / torch.tensor(self.size[::-1]) * full.flip(0)
        parts = [part.index_select(0, keep) for part in (labels, scores, boxes, masks, iams, cues, peaks, peak_scores,
                                                         cams)]
        return (class_scores, *parts, weights, context, guide)

    def pool(self, feat: Tensor) -> Tensor:
        """Average a level that is finer than the encoded size to that size, as :class:`FillingWeightPyramid` does."""
        size, encoded = [int(side) for side in feat.shape[-2:]], self.filling.encoded
        if not all(side > new for side, new in zip(size, encoded)):
            return feat
        rows, columns = (area_weights(new, side) for side, new in zip(size, encoded))
        return rows @ feat @ columns.T

    def keep(self, scores: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        """Return the positions of the instances that :meth:`BasePostProcessor.finalize` keeps, best first."""
        refine = self.model.post_processor
        order = torch.where(masks.flatten(1).any(1), scores, -torch.ones_like(scores)).sort(descending=True)[1]
        order = order[masks.index_select(0, order).flatten(1).any(1)]
        if refine.nms_iou is None:
            return order
        flat = masks.index_select(0, order).flatten(1).float()
        common, areas = flat @ flat.T, flat.sum(1)
        overlaps = common / (areas[:, None] + areas - common).clamp(min=1.) > refine.nms_iou
        labels = labels.index_select(0, order)
        overlaps = overlaps & (labels[:, None] == labels)
        later = torch.arange(order.shape[0])  # not len(): the tracer would take it for a constant
        return order[not_suppressed(overlaps & (later[:, None] < later))]


def fix_padding(conv: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
    """Fix the padding of a convolution, which depends on the size of its input, to that for these ``inputs``."""
    lacking = [max((-(-side // step) - 1) * step + (kernel - 1) * gap + 1 - side, 0) for side, step, kernel, gap in zip(
        inputs[0].shape[-2:], conv.stride, conv.kernel_size, conv.dilation)]
    pads = [part for lack in reversed(lacking) for part in (lack // 2, lack - lack // 2)]
    conv.forward = lambda image: F.conv2d(F.pad(image, pads), conv.weight, conv.bias, conv.stride, 0, conv.dilation,
                                          conv.groups)


class ClickGraph(nn.Module):
    """Graph of masks at prompts, in their order: state, (H0, W0) as a tensor (2,), prompts (n, 4) -> :data:`MASKS`.

    A prompt is a box (x1, y1, x2, y2) in pixels of the photo; one without extent, (x, y, x, y), is a point.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.filling, self.cue = size, Filling(model, size), PromptCue()

    def forward(self, weights: Tensor, context: Tensor, guide: Tensor, size: Tensor, prompts: Tensor
                ) -> tuple[Tensor, ...]:
        evidence = torch.full_like(prompts[:, 0], self.cue.logit)
        return self.filling(weights, context, guide, size, self.draw(prompts, size), evidence)

    def draw(self, prompts: Tensor, size: Tensor) -> Tensor:
        """Draw the Gaussians (n, H, W) of :class:`PromptCue`."""
        factors = []
        point = (prompts[:, :2] == prompts[:, 2:]).all(1)
        reach = self.cue.point_sigma * size.prod().float().sqrt()
        for axis in (0, 1):  # x, y
            full, side = size[1 - axis].float(), self.size[1 - axis]
            first, last = (prompts[:, i].clamp(min=0.).minimum(full) for i in (axis, axis + 2))
            sigma = torch.where(point, reach, self.cue.box_sigma * (last - first))
            low, high = torch.where(point, 0. * full, first), torch.where(point, full, last)
            center, sigma, low, high = (value * side / full for value in ((first + last) / 2, sigma, low, high))
            places = torch.arange(side) + 0.5
            distance = places - center[:, None]
            inside = (places >= low[:, None]) & (places < high[:, None])
            nearest = distance.abs() == distance.abs().amin(1, keepdim=True)
            inside = inside | nearest & ~inside.any(1, keepdim=True)
            exponent = -0.5 * (distance / sigma[:, None].clamp(min=0.5)).square()
            exponent = torch.where(inside, exponent, torch.full_like(exponent, -torch.inf))
            factors.append((exponent - exponent.amax(1, keepdim=True)).exp())
        return factors[1][:, :, None] * factors[0][:, None]


def find_peaks(head: nn.Module, response: Tensor) -> tuple[Tensor, ...]:
    """Find the peaks of one image as ``head.find_cues`` does: class response (1, C, h', w') -> scores and peaks.

    Returns:
        tuple[Tensor, ...]: class scores (C,) as raw logits; and for n peaks, highest first, their labels (n,), places
        (y, x) on the response map (n, 2), heights (n,), and evidence for their classes (n,).
    """
    maps = response[0].float()
    if isinstance(head, SoftmaxHead):
        class_scores = maps.mean((1, 2))
        probabilities, labels = head.probabilities(class_scores[None])[0].topk(min(head.top_k, head.num_classes))
        wanted = (probabilities > 0) & (probabilities >= head.min_probability)
        maps, evidence = maps[labels], torch.logit(probabilities, eps=1e-6)
    marks = local_maxima(maps[None], head.peak_cfg['win_size'])[0]
    threshold = peak_threshold(maps[None], head.peak_cfg['peak_filter'])
    if threshold is not None:
        marks = marks & (maps[None] >= threshold)[0]
    if not isinstance(head, SoftmaxHead):
        labels = torch.arange(len(maps))
        class_scores = evidence = (maps * marks).sum((1, 2)) / marks.sum((1, 2)).clamp(min=1)
        wanted = class_scores >= head.class_thr
    heights = torch.where(marks, maps, torch.full_like(maps, -torch.inf))
    strongest = heights.amax((1, 2), keepdim=True)
    least = (head.relative_peak_thr * strongest.clamp(min=0)).clamp(min=head.peak_thr)
    if head.keep_strongest:
        least = torch.minimum(least, strongest)
    index = (marks & wanted[:, None, None] & (heights >= least)).nonzero()
    values, order = maps[index[:, 0], index[:, 1], index[:, 2]].sort(descending=True)
    index, values = index[order[:head.max_peaks]], values[:head.max_peaks]
    return class_scores, labels[index[:, 0]], index[:, 1:], values, evidence[index[:, 0]]


# ---------------------------------------------------------------- files
def exportable(model: nn.Module) -> tuple[int, int]:
    """Check that a model can be exported, and return the size (H, W) at which it sees a photo.

    Raises:
        ValueError: if it cannot be exported; says which part is in the way.
    """
    steps = {step['type'].split('.')[-1]: step for step in model.cfg.test_dataloader.dataset.pipeline}
    resize_step = steps.get('Resize', {})
    faults = {
        'its filler is missing': getattr(model, 'filler', None) is None,
        f'its cue is {type(model.cue).__name__}; a graph has no backward pass, so it must be PeakGaussianCue':
            type(model.cue) is not PeakGaussianCue,
        f'its post_processor is {type(model.post_processor).__name__}, not ConvCRFPostProc':
            type(model.post_processor) is not ConvCRFPostProc,
        'its filler has another kernel_size than 3': getattr(model.filler, 'kernel_size', 3) != 3,
        'groups of classes are its cue\'s': getattr(model.peak_head, 'targets', None) is not None,
        'its test pipeline does not bring images to one size (Resize with keep_ratio=False)':
            not resize_step.get('scale') or resize_step.get('keep_ratio', False),
    }
    found = next((fault for fault, is_so in faults.items() if is_so), None)
    if found:
        raise ValueError(f'the model cannot be exported: {found}')
    return tuple(resize_step['scale'][::-1])


@torch.no_grad()
def export_model(model: nn.Module, out: str, form: str = 'onnx') -> list[str]:
    """Write the graphs ``photo`` and ``click`` and the names of the classes into a folder.

    Args:
        model (IAMNet): model from :func:`mmiam.apis.init_model`, on the CPU.
        out (str): folder to write to.
        form (str): 'onnx', 'openvino' or 'torchscript'.

    Returns:
        list[str]: paths of the files.

    Raises:
        ValueError: if the format is unknown, or the model cannot be exported (:func:`exportable`).
        ModuleNotFoundError: if a package is missing; says which.
    """
    if form not in WRITERS:
        raise ValueError(f'format {form!r} is none of {", ".join(WRITERS)}')
    size = exportable(model)
    # without gradients: TorchScript would prepare for them at the second photo, and fail
    model = copy.deepcopy(model).eval().requires_grad_(False)
    photo = torch.randint(0, 256, (90, 120, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    graphs: dict[str, nn.Module] = dict(photo=PhotoGraph(model, size), click=ClickGraph(model, size))
    state = graphs['photo'](photo)[-len(STATE):]
    inputs = dict(photo=(photo, ), click=(*state, torch.tensor([90, 120]), torch.tensor([[20., 30., 20., 30.]])))
    files = []
    for name, graph in graphs.items():
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter('ignore')  # they concern constants that depend on the size, and plans of exporters
            for path in WRITERS[form](graph.eval(), name, inputs[name], osp.join(folder, name)):
                files.append(osp.join(out, osp.basename(path)))
                with open(path, 'rb') as file:
                    atomic_write(files[-1], file.read())
    files.append(osp.join(out, 'classes.json'))
    write_json(files[-1], list(model.dataset_meta['classes']))
    return files


def _torchscript(graph: nn.Module, name: str, inputs: tuple, path: str) -> list[str]:
    torch.jit.trace(graph, inputs, check_trace=False).save(f'{path}.pt')
    return [f'{path}.pt']


def _onnx(graph: nn.Module, name: str, inputs: tuple, path: str) -> list[str]:
    need('onnx', 'onnx')
    # the tracer, because the other exporter has no loops whose length depends on the data (regions, duplicates)
    tracer = dict(dynamo=False) if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    given, results = GRAPHS[name]
    torch.onnx.export(graph, inputs, f'{path}.onnx', opset_version=18,
                      input_names=list(given), output_names=list(results), dynamic_axes={**given, **results}, **tracer)
    return [f'{path}.onnx']


def _openvino(graph: nn.Module, name: str, inputs: tuple, path: str) -> list[str]:
    openvino = need('openvino', 'openvino')
    model = openvino.convert_model(_onnx(graph, name, inputs, path)[0])
    openvino.save_model(model, f'{path}.xml', compress_to_fp16=False)
    return [f'{path}.xml', f'{path}.bin']


WRITERS = dict(onnx=_onnx, openvino=_openvino, torchscript=_torchscript)
