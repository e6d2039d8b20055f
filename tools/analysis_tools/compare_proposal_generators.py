"""Compares settings of the built-in proposal generator on annotated images. Analysis only: no training.

    python tools/analysis_tools/compare_proposal_generators.py data/VOCdevkit --split val --workers 2

Each setting makes the proposals of every image anew; nothing is written but, with --json, the figures. Settings
that need higra are left out where it is missing.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
from pathlib import Path

import mmcv
import numpy as np
from pycocotools import mask as coco_mask
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.datasets.voc_masks import read_index_mask, voc_instances
from mmiam.proposals.generators import SelectiveMerging
from mmiam.proposals.generators.selective_merging import DEFAULT_LEVELS, Level
from mmiam.proposals.quality import best_so_far, iou_with_masks, summarize
from mmiam.utils.files import atomic_write
from mmiam.utils.jobs import one_thread, read_ids

_SELECTIVE_SEARCH = dict(colour=1, texture=1, size=1, fill=1)


def without_edges() -> tuple[Level, ...]:
    """The default levels with the edge cue's weight taken away."""
    return tuple(Level(v.space, v.scale, tuple((s, {k: w for k, w in t.items() if k != 'edge'}) for s, t in v.trees))
                 for v in DEFAULT_LEVELS)


def on_slic() -> tuple[Level, ...]:
    """The default trees on SLIC superpixels of about the same number."""
    return tuple(Level(v.space, n, v.trees, 'slic') for v, n in zip(DEFAULT_LEVELS, (640, 440)))


def by_higra() -> tuple[Level, ...]:
    """Four hierarchies of higra over each of the default superpixel maps."""
    trees = tuple(('lab', c) for c in ('area', 'volume', 'dynamics', 'average'))
    return tuple(Level(v.space, v.scale, trees) for v in DEFAULT_LEVELS)


def variants() -> dict[str, SelectiveMerging]:
    """Name and generator of each row."""
    spaces = [(space, scale) for scale in (100, 50) for space in ('lab', 'hsv')]
    plain = tuple(Level(space, scale, ((space, _SELECTIVE_SEARCH), )) for space, scale in spaces)
    result = {
        'default: 8 trees, 2 maps': SelectiveMerging(),
        'one tree': SelectiveMerging((Level('lab', 50, DEFAULT_LEVELS[0].trees[:1]), )),
        '5 trees, 1 map': SelectiveMerging(DEFAULT_LEVELS[:1]),
        'selective search, 4 maps': SelectiveMerging(plain),
        'selective search, 2 maps': SelectiveMerging(plain[:2]),
        'default without edges': SelectiveMerging(without_edges()),
        'default on SLIC': SelectiveMerging(on_slic()),
    }
    if importlib.util.find_spec('higra'):
        result['higra, 8 hierarchies'] = SelectiveMerging(by_higra())
    return result


def _one_image(job: tuple[Path, str, str]) -> tuple[np.ndarray, list[int], int, float]:
    root, name, variant = job
    proposals = variants()[variant](mmcv.imread(str(root / 'JPEGImages' / f'{name}.jpg'), channel_order='rgb'))
    instances, void = voc_instances(read_index_mask(str(root / 'SegmentationClass' / f'{name}.png')),
                                    read_index_mask(str(root / 'SegmentationObject' / f'{name}.png')),
                                    {i: i - 1 for i in range(1, 255)})
    masks = np.stack([coco_mask.decode(i['mask']).astype(bool) for i in instances]) if instances else \
        np.zeros((0, *proposals.size), bool)
    ignore = None if void is None else coco_mask.decode(void).astype(bool)
    best = best_so_far(iou_with_masks(proposals, masks, ignore))
    return best, [i['bbox_label'] for i in instances], len(proposals), proposals.seconds


def compare(root: Path, ids: list[str], workers: int = 1, names: list[str] | None = None) -> dict[str, dict]:
    """Figures of each setting over the images: name to the figures of ``summarize`` and ``seconds_per_image``."""
    result = {}
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    with multiprocessing.get_context(method).Pool(workers, one_thread) as pool:
        for variant in names or variants():
            made = pool.imap(_one_image, [(root, name, variant) for name in ids])
            rows = list(track(made, variant, total=len(ids), transient=True))
            best, classes, numbers, seconds = zip(*rows)
            figures = summarize(np.concatenate(best), np.array(sum(classes, [])), list(numbers))
            result[variant] = dict(figures, seconds_per_image=float(np.mean(seconds)))
            print(f'{variant}: {100 * figures["mean_best_iou"]:.1f}', flush=True)
    return result


def table(result: dict[str, dict]) -> str:
    """The figures as text, in percent."""
    rows = [['setting', 'first 50', 'first 200', 'all', 'recall@0.5', 'recall@0.7', 'proposals', 'CPU s']]
    keys = ('mean_best_iou_at_50', 'mean_best_iou_at_200', 'mean_best_iou', 'recall_50', 'recall_70')
    for name, r in result.items():
        rows.append([name, *(f'{100 * r[k]:.1f}' for k in keys), f'{r["mean_proposals"]:.0f}',
                     f'{r["seconds_per_image"]:.2f}'])
    return AsciiTable(rows).table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('voc_root', type=Path, help='VOCdevkit, or VOC2012 in it')
    parser.add_argument('--split', default='val', help='name in ImageSets/Segmentation, or a text file of ids')
    parser.add_argument('--limit', type=int, help='the first images only')
    parser.add_argument('--only', nargs='+', help='names of settings')
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--json', type=Path, help='write the figures here')
    args = parser.parse_args()
    root = args.voc_root / 'VOC2012' if (args.voc_root / 'VOC2012').is_dir() else args.voc_root
    ids = Path(args.split) if Path(args.split).is_file() else root / 'ImageSets/Segmentation' / f'{args.split}.txt'
    result = compare(root, read_ids(ids)[:args.limit], args.workers, args.only)
    print(table(result))
    if args.json:
        atomic_write(args.json, json.dumps(result, indent=2).encode())


if __name__ == '__main__':
    main()
