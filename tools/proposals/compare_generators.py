"""Compares settings of the built-in proposal generator on annotated images. Analysis only: no training.

    python tools/proposals/compare_generators.py data/VOCdevkit --split val --workers 2

Each setting makes the proposals of every image anew; nothing is written but, with --json, the figures. Settings
that need higra are left out where it is missing.
"""
from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
from evaluate import ImageFigures, image_figures, split_ids, summarize
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.apis.options import make_parser, number, tool
from mmiam.proposals.generators import SelectiveMerging
from mmiam.proposals.generators.features import convert_color
from mmiam.proposals.generators.merging import MergeTree
from mmiam.proposals.generators.selective_merging import DEFAULT_LEVELS, Level
from mmiam.utils.files import write_json
from mmiam.utils.images import read_image
from mmiam.utils.jobs import one_thread


class OnSlic(SelectiveMerging):
    """The default trees on SLIC superpixels of about the same number."""

    def superpixels(self, image: np.ndarray, level: Level) -> np.ndarray:
        from skimage.segmentation import slic
        return slic(convert_color(image, level.space), {50: 640, 100: 440}[level.scale], compactness=10, sigma=0.8,
                    convert2lab=False, start_label=0)


class ByHigra(SelectiveMerging):
    """Hierarchies of the library higra over each superpixel map; a level's "weights" are the criterion."""

    def tree(self, stats, neighbors: tuple[np.ndarray, ...], weights: str) -> MergeTree:
        import higra
        pairs, length, strength = neighbors
        graph = higra.UndirectedGraph(len(stats.area))
        graph.add_edges(pairs[:, 0], pairs[:, 1])
        if weights == 'average':
            tree, height = higra.binary_partition_tree_average_linkage(graph, strength / length, length)
        else:
            options = {} if weights == 'dynamics' else dict(vertex_area=stats.area)
            tree, height = getattr(higra, f'watershed_hierarchy_by_{weights}')(graph, strength / length, **options)
        return binary_tree(len(stats.area), np.asarray(tree.parents()), np.asarray(height, np.float64))


def binary_tree(num_leaves: int, parents: np.ndarray, height: np.ndarray) -> MergeTree:
    """A tree with two children a region from one with any number: further children join one by one.

    Args:
        num_leaves (int): K.
        parents (ndarray): (N,) parents; the root stands last and is its own.
        height (ndarray): (N,) height of each node.
    """
    children: list[tuple[int, int]] = []
    heights = [0.] * num_leaves
    region = np.arange(len(parents))  # what stands for a node of the given tree
    below = np.split(np.argsort(parents[:-1], kind='stable'), np.cumsum(np.bincount(parents[:-1])[:-1]))
    for node in range(num_leaves, len(parents)):
        joined = region[below[node][0]]
        for other in below[node][1:]:
            children.append((joined, region[other]))
            heights.append(height[node])
            joined = num_leaves + len(children) - 1
        region[node] = joined
    return MergeTree(num_leaves, np.array(children, np.int64).reshape(-1, 2), np.maximum.accumulate(heights))


def variants() -> dict[str, SelectiveMerging]:
    """Name and generator of each row."""
    selective_search = dict(color=1, texture=1, size=1, fill=1)
    plain = tuple(Level(space, scale, ((space, selective_search), ))
                  for scale in (100, 50) for space in ('lab', 'hsv'))
    without_edges = tuple(Level(level.space, level.scale, tuple(
        (space, {cue: weight for cue, weight in weights.items() if cue != 'edge'}) for space, weights in level.trees))
        for level in DEFAULT_LEVELS)
    result = {
        'default: 8 trees, 2 maps': SelectiveMerging(),
        'one tree': SelectiveMerging((Level('lab', 50, DEFAULT_LEVELS[0].trees[:1]), )),
        '5 trees, 1 map': SelectiveMerging(DEFAULT_LEVELS[:1]),
        'selective search, 4 maps': SelectiveMerging(plain),
        'selective search, 2 maps': SelectiveMerging(plain[:2]),
        'default without edges': SelectiveMerging(without_edges),
        'default on SLIC': OnSlic(),
    }
    if importlib.util.find_spec('higra'):
        result['higra, 8 hierarchies'] = ByHigra(tuple(
            Level(v.space, v.scale, tuple(('lab', c) for c in ('area', 'volume', 'dynamics', 'average')))
            for v in DEFAULT_LEVELS))
    return result


def _one_image(variant: str, root: Path, name: str) -> ImageFigures:
    return image_figures(root, name, variants()[variant](read_image(root / 'JPEGImages' / f'{name}.jpg')))


def compare(root: Path, ids: list[str], workers: int = 1, names: list[str] | None = None) -> dict[str, dict]:
    """Figures of each setting over the images: name to what ``summarize`` gives."""
    result = {}
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    with multiprocessing.get_context(method).Pool(workers, one_thread) as pool:
        for variant in names or variants():
            images = pool.imap(partial(_one_image, variant, root), ids)
            result[variant] = summarize(list(track(images, variant, total=len(ids), transient=True)))
            print(f'{variant}: {100 * result[variant]["mean_best_iou"]:.1f}', flush=True)
    return result


def table(result: dict[str, dict]) -> str:
    """The figures as text, in percent."""
    rows = [['setting', 'first 50', 'first 200', 'all', 'recall@0.5', 'recall@0.7', 'proposals', 'CPU s']]
    keys = ('mean_best_iou_at_50', 'mean_best_iou_at_200', 'mean_best_iou', 'recall_50', 'recall_70')
    for name, r in result.items():
        rows.append([name, *(f'{100 * r[k]:.1f}' for k in keys), f'{r["mean_proposals"]:.0f}',
                     f'{r["seconds_per_image"]:.2f}'])
    return AsciiTable(rows).table


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, '--workers', '--json')
    parser.add_argument('voc_root', type=Path, help='VOCdevkit, or VOC2012 in it')
    parser.add_argument('--split', default='val', help='name in ImageSets/Segmentation, or a text file of ids')
    parser.add_argument('--limit', type=number(1, kind=int), help='the first images only')
    parser.add_argument('--only', nargs='+', help='names of settings')
    args = parser.parse_args(argv)
    root, ids = split_ids(args.voc_root, args.split)
    result = compare(root, ids[:args.limit], args.workers, args.only)
    print(table(result))
    if args.json:
        write_json(args.json, result, indent=2)


if __name__ == '__main__':
    sys.exit(main())
