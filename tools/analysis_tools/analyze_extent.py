"""Statistics of Sec. 4.2: how well CAM, PRM and IAM cover objects, over sizes and classes; filling weights as arrows.

    python tools/analysis_tools/analyze_extent.py CONFIG CHECKPOINT --out extent [--num 200] [--arrows 4]

Writes into the folder --out: ``extent.json`` (figures and samples), ``density_<view>.png`` (Fig. 7),
``classes_<view>.png`` (Fig. 8) and ``weights_<image id>.png`` (Fig. 5). A map's IoU is that of its best threshold.
View ``instance``: one sample a true instance, its best map of the same class, 0 if there is none: all methods are
averaged over the same objects. View ``map``: one sample a map, its best true instance of any class, as the paper writes
it: methods that find different numbers of maps are averaged over different objects. Masks are read for this analysis
alone.

Legend: n peaks of an image, P maps, m true instances, S samples, H x W original image size, h x w input size.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from extent_figures import draw_class_bars, draw_density, draw_field
from image_samples import build_dataset, evenly_spread, filled_cues, read_truth
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.apis import init_model
from mmiam.apis.options import given_config, make_parser, number, tool
from mmiam.models.postprocessors.base import BasePostProcessor
from mmiam.utils.files import write_json
from mmiam.utils.images import read_image, write_picture

VIEWS = ('instance', 'map')
#: edges of the size groups, as shares of the image's area; our choice
SIZE_EDGES = (0., 0.01, 0.05, 0.1, 0.2, 0.4, 1.)
#: 0.01, 0.02, …, 0.99: the set of thresholds in (0, 1); the paper does not list its own
THRESHOLDS = np.linspace(.01, .99, 99)


def best_threshold_iou(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """max over theta of IoU(map >= theta, mask), for every pair (Sec. 4.2, Figs. 7 and 8).

    The paper takes the maximum over the true masks too: ``.max(axis=1)``, one value a map. ``.max(axis=0)``
    is one value a ground truth, as ABO's.

    Args:
        maps (ndarray): Soft maps in [0, 1], float (P, H, W).
        masks (ndarray): True masks, bool (m, H, W).

    Returns:
        ndarray: Best IoU of each pair, float64 (P, m) in [0, 1].

    Raises:
        ValueError: if a map is not finite.
    """
    if not np.isfinite(maps).all():
        raise ValueError('a soft map holds NaN or infinity')
    best, number, areas = np.zeros((len(maps), len(masks))), len(THRESHOLDS) + 1, masks.sum((1, 2))
    for row, values in enumerate(maps):
        # level k: the pixel is inside for the first k thresholds
        levels = np.searchsorted(THRESHOLDS, values.ravel(), side='right')
        inside = np.bincount(levels, minlength=number)[::-1].cumsum()[::-1][1:]
        for column, mask in enumerate(masks):
            shared = np.bincount(levels[mask.ravel()], minlength=number)[::-1].cumsum()[::-1][1:]
            union = inside + areas[column] - shared
            best[row, column] = (shared / np.maximum(union, 1)).max()
    return best


def samples_of(iou: np.ndarray, map_labels: np.ndarray, sizes: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Samples of an image in both views, each (S, 3): best IoU, size and class of the true instance.

    Args:
        iou (ndarray): best IoU over thresholds of every map with every mask, (P, m).
        map_labels (ndarray): class of each map, (P,).
        sizes (ndarray): area of each mask as a share of the image, (m,).
        labels (ndarray): class of each mask, (m,).
    """
    if not len(labels):
        return {view: np.zeros((0, 3)) for view in VIEWS}
    best = np.where(np.equal.outer(map_labels, labels), iou, 0.).max(axis=0, initial=0.)
    matched = iou.argmax(axis=1)
    return dict(instance=np.stack([best, sizes, labels], 1),
                map=np.stack([iou.max(axis=1), sizes[matched], labels[matched]], 1))


def mean(values: np.ndarray) -> float | None:
    """None without any."""
    return float(values.mean()) if len(values) else None


@torch.no_grad()
def image_maps(model, packed: dict) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], object, tuple]:
    """Maps of an image by method, its sample, and the backbone's features.

    Returns:
        tuple: name -> (maps (n, H, W) in [0, 1], labels (n,)): CAM, one a class, and PRM divided by their maximum, IAM
        as probability, none without a filler; the data sample; feature maps.
    """
    image, cue, sample, feats = filled_cues(model, packed)
    size, labels = tuple(image.shape[-2:]), cue.labels.cpu().numpy()
    found = {}
    for name, key in (('CAM', 'cams'), ('PRM', 'prms'), ('IAM', 'iams')):
        if key not in cue:
            continue
        maps = BasePostProcessor.resize_maps(cue.get(key), size).cpu()
        if key == 'iams':
            maps = maps.sigmoid()
        elif len(maps):
            maps = maps.clamp(min=0)
            maps = maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
        # all peaks of a class share its class response map
        chosen = np.unique(labels, return_index=True)[1] if key == 'cams' else np.arange(len(labels))
        found[name] = maps.numpy()[chosen], labels[chosen]
    return found, sample, feats


@torch.no_grad()
def weight_arrows(model, feats: tuple, sample) -> np.ndarray:
    """Fig. 5 of an image, RGB uint8: the filling weights of the first image of ``feats`` over the grid of filling."""
    height, width = sample.batch_input_shape
    rows, columns = (-(-side // model.filler.stride) for side in (height, width))
    weights = model.filler.filling_weights(feats, (rows, columns))[0].cpu().numpy()
    used = [max(1, round(count * part / whole))  # without what padding added
            for count, part, whole in zip((rows, columns), sample.img_shape[:2], (height, width))]
    return draw_field(read_image(sample.img_path), weights[..., :used[0], :used[1]])


def collect(model, dataset, indices: list[int], void: str, arrows: int, out: Path) -> dict:
    """Samples of every method and view, name -> view -> (S, 3); draws the arrows of the first images."""
    collected: dict[str, dict[str, list]] = {}
    for position, index in enumerate(track(indices, 'images')):
        found, sample, feats = image_maps(model, dataset[index])
        masks, labels, ignored = read_truth(sample)
        valid = None if void != 'ignore' or ignored is None else ~ignored
        sizes = masks.mean((1, 2)) if len(masks) else np.zeros(0)
        for name, (maps, map_labels) in found.items():
            if valid is not None:
                maps = maps[:, valid][:, None]
            iou = best_threshold_iou(maps, masks if valid is None else masks[:, valid][:, None])
            for view, samples in samples_of(iou, map_labels, sizes, labels).items():
                collected.setdefault(name, {one: [] for one in VIEWS})[view].append(samples)
        if position < arrows and model.filler is not None:
            write_picture(f'{out}/weights_{sample.img_id}.png', weight_arrows(model, feats, sample))
    return {name: {view: np.concatenate(samples) for view, samples in views.items()}
            for name, views in collected.items()}


def by_size(samples: np.ndarray, edges: tuple[float, ...] = SIZE_EDGES) -> list[dict]:
    """``low``, ``high`` (shares of the image, high excluded but for the last), ``number``, ``mean`` (or None)."""
    size, rows = samples[:, 1], []
    for low, high in zip(edges[:-1], edges[1:]):
        chosen = samples[(size >= low) & ((size < high) | (high == edges[-1])), 0]
        rows.append(dict(low=low, high=high, number=len(chosen), mean=mean(chosen)))
    return rows


def metrics(samples: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Figures and samples of a method in a view, json-ready: shares, None where there is nothing to average.

    ``by_class`` are the means of Fig. 8.
    """
    classwise = {name: mean(samples[samples[:, 2] == index, 0]) for index, name in enumerate(classes)}
    known = [value for value in classwise.values() if value is not None]
    return dict(number=len(samples), mean=mean(samples[:, 0]), mean_of_classes=mean(np.array(known)),
                share_50=mean(samples[:, 0] >= .5), by_class=classwise, by_size=by_size(samples),
                samples=dict(iou=samples[:, 0].round(6).tolist(), size=samples[:, 1].round(6).tolist(),
                             label=samples[:, 2].astype(int).tolist()))


def report(collected: dict, classes: tuple[str, ...], num_images: int, void: str, out: Path) -> dict:
    """Write json and pictures of all views; returns the json's content."""
    content = dict(num_images=num_images, void=void, methods={
        name: {view: metrics(samples, classes) for view, samples in views.items()}
        for name, views in collected.items()})
    write_json(out / 'extent.json', content, indent=1)
    for view in VIEWS:
        write_picture(f'{out}/density_{view}.png', draw_density(
            {name: views[view] for name, views in collected.items()}))
        write_picture(f'{out}/classes_{view}.png', draw_class_bars(
            {name: views[view]['by_class'] for name, views in content['methods'].items()}))
    return content


def table(content: dict) -> str:
    """Both views as text, in percent."""
    rows = []
    for view in VIEWS:
        for name, views in content['methods'].items():
            one = views[view]
            rows.append([view, name, one['number'], *(
                '-' if value is None else f'{100 * value:.1f}'
                for value in (one['mean'], one['mean_of_classes'], one['share_50'],
                              *(group['mean'] for group in one['by_size'])))])
    groups = next(iter(content['methods'].values()))['instance']['by_size']
    head = ['view', 'method', 'samples', 'mean', 'mean of classes', 'IoU >= 50',
            *(f'size {100 * group["low"]:g}-{100 * group["high"]:g}' for group in groups)]
    return AsciiTable([head, *rows], f'best-threshold IoU, {content["num_images"]} images, percent').table


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options')
    parser.add_argument('--out', type=Path, default=Path('extent'), help='folder for json and pictures')
    parser.add_argument('--num', type=number(1, kind=int),
                        help='images, evenly spread over the test list; default: all')
    parser.add_argument('--void', choices=['background', 'ignore'], default='background',
                        help='whether pixels marked void count as background, or nowhere')
    parser.add_argument('--arrows', type=int, default=4, help='images whose filling weights are drawn')
    args = parser.parse_args(argv)
    config = given_config(args)
    dataset = build_dataset(config.test_dataloader.dataset)
    classes = dataset.metainfo['classes']
    model = init_model(config, args.checkpoint, args.device, classes=classes)
    indices = evenly_spread(len(dataset), args.num)
    collected = collect(model, dataset, indices, args.void, args.arrows, args.out)
    print(table(report(collected, classes, len(indices), args.void, args.out)))
    print(f'written to {args.out}')


if __name__ == '__main__':
    sys.exit(main())
