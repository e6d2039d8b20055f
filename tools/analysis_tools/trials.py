"""What was tried beside the published recipe, to be tried again; docs/experiments.md has the figures.

    python tools/analysis_tools/trials.py CONFIG RUN/model.pth --change superpixels
        --features RUN/features/features-HASH --pseudo-masks RUN/mined-HASH --out CHANGED
    python tools/train_frozen.py CONFIG --work-dir TRIAL --features RUN/features --pseudo-masks CHANGED
    python tools/analysis_tools/trials.py test CONFIG TRIAL/model.pth

The first writes the pseudo masks of a run of tools/train_frozen.py anew, changed in one respect; the last is
tools/test.py with the cues and the backbone of this file, for --cfg-options like model.cue.type=StageResponseCue.

Legend: n cues of one image, H x W network input, g x g grid of the pseudo masks (input over ``filler.pooling``).
"""
from __future__ import annotations

import os
import os.path as osp
import runpy
import sys
from collections import Counter
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from skimage.segmentation import slic
from torch import Tensor, nn

from mmiam.apis.options import given_config, make_parser, tool
from mmiam.engine.frozen_training.features import FeatureStore, build_plain_dataset, load_model
from mmiam.models.backbones.efficientnet_lite import EfficientNetLite, find_first_center
from mmiam.models.cues import PeakGaussianCue
from mmiam.models.cues.blobs import draw_gaussians
from mmiam.models.fillers.second_pass import keep_surer_maps, widen_cues
from mmiam.ops import Trace, class_maps_over_image
from mmiam.ops.class_maps import pixel_positions
from mmiam.utils.checkpoints import check_fit, read_checkpoint, save_checkpoint, state_dict_of
from mmiam.utils.files import read_arrays, write_arrays
from mmiam.utils.images import read_image
from mmiam.utils.jobs import with_bar


class DrawnCue(PeakGaussianCue):
    """A cue at peaks that is drawn from the features of EfficientNet-Lite2 (outputs 2, 3, 4 and 6)."""

    def forward(self, network, images, data_samples=None, image_labels=None):
        found = super().forward(network, images, data_samples, image_labels)
        for i, cue in enumerate(found.cues):
            if len(cue):
                feats = tuple(feat[i:i + 1] for feat in found.feats)
                cue.maps = self.draw_from(network, feats, cue.labels, cue.peaks, cue.places, tuple(images.shape[-2:]))
        return found

    def draw_from(self, network, feats, labels, peaks, places, size) -> Tensor:
        """Maps (n, H, W), maximum 1."""
        raise NotImplementedError


@MODELS.register_module(force=True)
class StageResponseCue(DrawnCue):
    """Eq. 1 from the peak back through the last stage alone: to the third output, stride 16."""

    def draw_from(self, network, feats, labels, peaks, places, size):
        def run(x):
            for layer in network.backbone.layers[5:]:
                x = layer(x)
            return network.peak_head((x, ))

        recorded = Trace(run, feats[2])
        rows = torch.cat([torch.zeros_like(labels)[:, None], labels[:, None], peaks], dim=1)
        maps = recorded.backpropagate(recorded.output, rows)
        offset = tuple(find_first_center(side, 4) for side in size)
        maps = class_maps_over_image(maps, tuple(maps.shape[-2:]), size, offset)
        return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


class MapPredictor(nn.Module):
    """Logits of a Peak Response Map on a grid of stride 8, from features, the class's weights and the peak."""

    def __init__(self, channels=(24, 48, 120), last: int = 1280, width: int = 64) -> None:
        super().__init__()
        self.keys = nn.ModuleList([nn.Conv2d(size, width, 1) for size in channels])
        self.of_class, self.of_peak = nn.Linear(last, width), nn.Linear(last, width)
        self.mix = nn.Sequential(nn.Conv2d(width + 3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1),
                                 nn.ReLU(), nn.Conv2d(32, 1, 1))

    def forward(self, network, feats, labels, places, size) -> Tensor:
        """Has shape (n, H / 8, W / 8)."""
        side = tuple(-(-length // 8) for length in size)
        keys = [F.adaptive_avg_pool2d(key(feat), side) if feat.shape[-1] > side[1] else
                F.interpolate(key(feat), side, mode='bilinear') for key, feat in zip(self.keys, feats)]
        at_peak = ((places + 0.5) / places.new_tensor(size) * 2 - 1).flip(1)[None, :, None]
        here = F.grid_sample(feats[-1], at_peak, align_corners=False)[0, :, :, 0].T
        weights = network.peak_head.classifier.weight[labels, :, 0, 0]
        query = (self.of_class(weights * 10) + self.of_peak(here)).relu()
        near = torch.stack([draw_gaussians((places + 0.5) / 8 - 0.5, sigma * (side[0] * side[1])**0.5, side)
                            for sigma in (0.06, 0.2)], dim=1)
        cams = class_maps_over_image(network.peak_head(feats)[0, labels], tuple(feats[-1].shape[-2:]), size,
                                     network.cell_offset(size))
        cams = F.adaptive_avg_pool2d(cams[:, None].relu(), side)
        cams = cams / cams.amax((2, 3), keepdim=True).clamp(min=1e-6)
        mixed = torch.cat([sum(keys).relu() * query[:, :, None, None], near, cams], dim=1)
        return self.mix(mixed)[:, 0] + 4 * (near[:, 1] - 1)


@MODELS.register_module(force=True)
class DistilledCue(DrawnCue):
    """A small head's prediction of the Peak Response Map.

    Args:
        weights (str): of :func:`distill`.
    """

    def __init__(self, weights: str, **kwargs) -> None:
        super().__init__(**kwargs)
        predictor = MapPredictor()
        predictor.load_state_dict(state_dict_of(read_checkpoint(weights), weights))
        self.predictor = [predictor.eval()]  # in a list: it is not part of the model's state

    def draw_from(self, network, feats, labels, peaks, places, size):
        logits = self.predictor[0](network, feats, labels, places, size)
        maps = (logits - logits.amax((1, 2), keepdim=True)).exp()
        return F.interpolate(maps[:, None], size, mode='bilinear')[:, 0]


@MODELS.register_module(force=True)
class DilatedLite(EfficientNetLite):
    """Stride 16: the last stage is dilated in place of strided, with the same weights."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        depthwise = [conv for conv in self.layers[5].modules() if isinstance(conv, nn.Conv2d) and conv.groups > 1]
        strided = next(i for i, conv in enumerate(depthwise) if conv.stride == (2, 2))
        depthwise[strided].stride = (1, 1)
        for conv in depthwise[strided + 1:]:
            conv.dilation = (2, 2)

    @staticmethod
    def cell_offset(size):
        return find_first_center(size[0], 4), find_first_center(size[1], 4)


class Mined:
    """Pseudo masks and features of one image of a run.

    Attributes:
        arrays (dict[str, ndarray]): as :func:`mine_views` stores them; ``masks`` and ``scores`` as lists, one entry a
            cue.
        feats (tuple[Tensor]): outputs of the backbone, each (1, channels, h, w).
    """

    def __init__(self, path: str, index: int, store: FeatureStore) -> None:
        self.index, self.arrays = index, read_arrays(path)
        ends = np.cumsum(self.arrays['counts'])[:-1]
        self.masks, self.scores = (np.split(self.arrays[name], ends) for name in ('masks', 'scores'))
        self.feats = tuple(store.read([index], [0], level) for level in sorted(store.levels))
        self.labels = torch.from_numpy(self.arrays['labels'])

    def in_image(self, pooling: int) -> tuple[Tensor, tuple[int, int]]:
        """Places of the cues in pixels of the network input, (n, 2), and its size."""
        places = torch.from_numpy(self.arrays['places'])
        return (places + 0.5) * pooling - 0.5, tuple(side * pooling for side in self.arrays['prms'].shape[-2:])

    def __len__(self) -> int:
        return len(self.labels)

    def write(self, path: str, kept=None) -> None:
        """Write the cues, or some of them."""
        kept = np.arange(len(self)) if kept is None else np.array(kept, int)
        arrays = {name: values[kept] for name, values in self.arrays.items() if len(values) == len(self)}
        arrays['counts'] = np.array([len(self.scores[place]) for place in kept], np.int64)
        for name, parts in (('masks', self.masks), ('scores', self.scores)):
            arrays[name] = np.concatenate([self.arrays[name][:0], *(parts[place] for place in kept)])
        write_arrays(path, arrays)


def counted(model, dataset, mined: Mined) -> list[int]:
    """Places of no more cues of a class than the image has objects of it, those of the highest score."""
    path = dataset.image_path(mined.index).replace('JPEGImages', 'Annotations')
    names = ElementTree.parse(osp.splitext(path)[0] + '.xml').iter('name')
    left, kept = Counter(name.text for name in names), []
    for place in sorted(range(len(mined)), key=lambda place: -mined.scores[place][0]):
        name = dataset.metainfo['classes'][mined.labels[place]]
        if left[name] or not any(mined.labels[place] == mined.labels[other] for other in kept):
            left[name] -= 1
            kept.append(place)
    return sorted(kept)


def add_filled(model, dataset, mined: Mined) -> None:
    """The masks that the model itself finds for the cues, as a first candidate beside the proposals."""
    size = mined.arrays['prms'].shape[-2:]
    maps = draw_gaussians(torch.from_numpy(mined.arrays['places']), model.cue.sigma * (size[0] * size[1])**0.5, size)
    rows, feats = torch.zeros(len(mined), dtype=torch.long), dict(zip(model.filler.in_indices, mined.feats))
    model.filler.pooling = 1  # the maps are on the grid already
    first = model.filler(feats, maps, rows)
    found = keep_surer_maps(first, model.filler(feats, widen_cues(maps, first, 0.4), rows)).sigmoid() >= 0.4
    for place, mask in enumerate(found.byte().numpy() * 255):
        if mask.any():
            mined.masks[place] = np.concatenate([mask[None], mined.masks[place]])
            mined.scores[place] = np.concatenate([mined.scores[place][:1], mined.scores[place]])


def snap_to_superpixels(model, dataset, mined: Mined) -> None:
    """Superpixels that a mask covers to less than .2 or more than .8 leave or join it whole; the others are taught the
    share, after the hard and the soft part of the loss of arXiv 2509.05352."""
    grid = mined.arrays['masks'].shape[-2:]
    image = cv2.resize(read_image(dataset.image_path(mined.index)), (grid[1] * 4, grid[0] * 4))
    parts = slic(image, n_segments=400, compactness=10, start_label=0)[2::4, 2::4]
    sizes = np.maximum(np.bincount(parts.ravel()), 1)
    for place, masks in enumerate(mined.masks):
        shares = np.stack([np.bincount(parts.ravel(), mask.ravel() / 255) / sizes for mask in masks])
        shares = np.where(shares < 0.2, 0, np.where(shares > 0.8, 1, shares))
        mined.masks[place] = (255 * shares[:, parts]).round().astype(np.uint8)


def redraw(cue, model, dataset, mined: Mined) -> None:
    """Another cue at the same peaks."""
    places, size = mined.in_image(model.filler.pooling)
    maps = cue.draw_from(model, mined.feats, mined.labels, peaks_at(model, mined.feats, places, size), places, size)
    maps = F.avg_pool2d(maps[:, None], model.filler.pooling)[:, 0]
    mined.arrays['maps'] = (maps / maps.amax((1, 2), keepdim=True)).half().numpy()
    for name in ('prms', 'cams', 'places'):
        del mined.arrays[name]


def peaks_at(model, feats, places: Tensor, size) -> Tensor:
    """Places in the image as peaks (y, x) on the response map."""
    shape, cells = tuple(model.peak_head(feats).shape[-2:]), tuple(feats[-1].shape[-2:])
    diagonal = torch.arange(max(shape))[:, None].repeat(1, 2)
    pixels = pixel_positions(diagonal, shape, cells, size, model.cell_offset(size))
    return (places[:, None] - pixels).abs().argmin(1)


def distill(model, paths: dict[int, str], store: FeatureStore, out: str) -> None:
    """Teach a :class:`MapPredictor` the Peak Response Maps of mined cues by their cross entropy."""
    torch.manual_seed(0)
    steps = min(600, 4 * len(paths))
    rng, predictor = np.random.default_rng(0), MapPredictor()
    optimizer = torch.optim.AdamW(predictor.parameters(), 2e-3, weight_decay=1e-4)
    for step in with_bar(range(steps), steps, 'distilling'):
        optimizer.param_groups[0]['lr'] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)**0.9
        losses = []
        for index in rng.choice(list(paths), min(12, len(paths)), replace=False):
            mined = Mined(paths[index], index, store)
            if len(mined):
                logits = predictor(model, mined.feats, mined.labels, *mined.in_image(model.filler.pooling))
                target = F.adaptive_avg_pool2d(torch.from_numpy(mined.arrays['prms']).float(), logits.shape[-2:])
                target = target.flatten(1) / target.sum((1, 2))[:, None]
                losses.append(-(target * logits.flatten(1).log_softmax(1)).sum(1))
        if losses:
            optimizer.zero_grad()
            torch.cat(losses).mean().backward()
            optimizer.step()
    save_checkpoint(dict(state_dict=predictor.state_dict()), out)


CHANGES = {'counts': counted, 'second-round': add_filled, 'superpixels': snap_to_superpixels, 'stage-response': redraw,
           'distilled': redraw}


@tool
def main(argv=None) -> None:
    words = sys.argv[1:] if argv is None else list(map(str, argv))
    if words[:1] == ['test']:
        sys.argv = [osp.join(osp.dirname(__file__), '..', 'test.py'), *words[1:]]
        runpy.run_path(sys.argv[0], run_name='__main__')
    parser = make_parser(__doc__, 'config', 'checkpoint', '--cfg-options')
    parser.add_argument('--change', required=True, choices=CHANGES)
    for name, what in (('features', 'folder of the stored features'), ('pseudo-masks', 'folder to read'),
                       ('out', 'folder to write')):
        parser.add_argument(f'--{name}', required=True, help=what)
    args = parser.parse_args(words)
    cfg = given_config(args)
    model, dataset = load_model(cfg).eval(), build_plain_dataset(cfg, proposals=False)
    store = FeatureStore(args.features)
    state = state_dict_of(read_checkpoint(args.checkpoint), args.checkpoint)
    check_fit(model, state, args.checkpoint, ['peak_head', 'filler'])
    model.load_state_dict(state, strict=False)
    paths = {int(osp.splitext(name)[0]): osp.join(args.pseudo_masks, name)
             for name in sorted(os.listdir(args.pseudo_masks)) if name.endswith('.npz')}
    os.makedirs(args.out, exist_ok=True)
    cue = StageResponseCue()
    if args.change == 'distilled':
        weights = osp.join(args.out, 'predictor.pth')
        if not osp.isfile(weights):
            distill(model, paths, store, weights)
        cue = DistilledCue(weights)
    with torch.no_grad():
        for index, path in with_bar(paths.items(), len(paths), args.change):
            mined = Mined(path, index, store)
            given = (cue, model, dataset, mined) if CHANGES[args.change] is redraw else (model, dataset, mined)
            kept = CHANGES[args.change](*given) if len(mined) else None
            mined.write(osp.join(args.out, osp.basename(path)), kept)


if __name__ == '__main__':
    sys.exit(main())
