"""Measures how well segment proposals cover VOC's instances. For analysis: nothing of it may enter training.

    python tools/proposals/evaluate.py data/proposals/builtin --voc-root data/VOCdevkit --split val --json out.json

Void pixels count neither in intersections nor in unions, as in MCG's benchmark; --keep-void counts them.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from terminaltables import AsciiTable

from mmiam.apis.options import make_parser, number, tool
from mmiam.datasets.mask_files import load_voc_instances
from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.proposals import SegmentProposals, proposal_iou
from mmiam.proposals.io import find_proposal_file, load_proposals
from mmiam.utils.files import read_ids, write_json
from mmiam.utils.jobs import with_bar
from mmiam.utils.rle import decode_masks

#: figures are those of the first 10 proposals, the first 50, …, and of all
COUNTS = (10, 50, 100, 200, 500, 1000)
SUFFIXES = (*(f'_at_{count}' for count in COUNTS), '')
RECALL_THRESHOLDS = (0.5, 0.7, 0.9)


class ImageFigures(NamedTuple):
    """What one image adds, with g annotated instances: ``best`` (g, c) IoU, c as of :func:`best_so_far`, ``classes``
    (g labels), number of proposals, and the processor time that making them took, where it is known."""
    best: np.ndarray
    classes: list[int]
    num_proposals: int
    seconds: float | None


def split_ids(voc_root: Path, split: str) -> tuple[Path, list[str]]:
    """VOC2012's folder, and the images of a split: a name in ImageSets/Segmentation, or a file of ids.

    Raises:
        FileNotFoundError: if there is no such list.
    """
    root = voc_root / 'VOC2012' if (voc_root / 'VOC2012').is_dir() else voc_root
    path = Path(split) if Path(split).is_file() else root / 'ImageSets' / 'Segmentation' / f'{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(f'no list of images {path}')
    return root, read_ids(path)


def image_figures(root: Path, name: str, proposals: SegmentProposals, keep_void: bool = False) -> ImageFigures:
    """Figures of the proposals of an image of a VOC tree."""
    paths = (str(root / folder / f'{name}.png') for folder in ('SegmentationClass', 'SegmentationObject'))
    instances, void = load_voc_instances(*paths, {i: i - 1 for i in range(1, 255)}, proposals.size)
    masks = decode_masks([i['mask'] for i in instances], proposals.size)
    ignore = None if void is None or keep_void else decode_masks([void], proposals.size)[0]
    best = best_so_far(proposal_iou(masks, proposals, ignore).numpy())
    return ImageFigures(best, [i['bbox_label'] for i in instances], len(proposals), proposals.seconds)


def best_so_far(iou: np.ndarray) -> np.ndarray:
    """Best IoU of each instance among the first proposals, for each of ``COUNTS``, and then among all of them.

    Args:
        iou (ndarray): (g, n), proposals in order of rank.

    Returns:
        ndarray: (g, len(COUNTS) + 1); 0 where there is no proposal.
    """
    return np.stack([iou[:, :count].max(1, initial=0) for count in (*COUNTS, iou.shape[1])], 1)


def summarize(images: list[ImageFigures]) -> dict:
    """Figures over a data set.

    Returns:
        dict: ``mean_best_iou`` (mean over instances, all proposals), ``mean_best_iou_at_200`` and the like,
        ``recall_50`` / ``_70`` / ``_90`` (share of instances with a proposal of at least that IoU) and with
        ``_at_200`` and the like, ``abo`` (mean over classes of the class means) and ``abo_per_class``,
        ``num_images``, ``num_instances``, ``mean_proposals``, ``seconds_per_image``. NaN where there is no instance.
    """
    best = np.concatenate([image.best for image in images])
    classes = np.array([label for image in images for label in image.classes], int)
    seconds = [image.seconds for image in images if image.seconds is not None]
    result: dict = {}
    for suffix, column in zip(SUFFIXES, best.T if len(best) else np.full((len(SUFFIXES), 1), np.nan)):
        result[f'mean_best_iou{suffix}'] = float(column.mean())
        for threshold in RECALL_THRESHOLDS:
            recall = (column >= threshold).mean() if len(best) else np.nan
            result[f'recall_{threshold * 100:.0f}{suffix}'] = float(recall)
    per_class = {label: float(best[classes == label, -1].mean()) for label in np.unique(classes).tolist()}
    result['abo'] = float(np.mean(list(per_class.values()))) if per_class else float('nan')
    result['abo_per_class'] = {dict(enumerate(VOC_CLASSES)).get(k, str(k)): value for k, value in per_class.items()}
    result.update(num_images=len(images), num_instances=len(best),
                  mean_proposals=float(np.mean([image.num_proposals for image in images])),
                  seconds_per_image=float(np.mean(seconds)) if seconds else None)
    return result


def table(result: dict) -> str:
    """The figures as text, in percent."""
    rows = [['proposals', 'mean best IoU', *(f'recall@{t}' for t in RECALL_THRESHOLDS)]]
    names = [*(f'first {count}' for count in COUNTS), f'all ({result["mean_proposals"]:.0f} an image)']
    for name, suffix in zip(names, SUFFIXES):
        keys = [f'mean_best_iou{suffix}', *(f'recall_{t * 100:.0f}{suffix}' for t in RECALL_THRESHOLDS)]
        rows.append([name, *(f'{100 * result[key]:.1f}' for key in keys)])
    classes = [['class', 'mean best IoU'], *([n, f'{100 * v:.1f}'] for n, v in result['abo_per_class'].items())]
    classes.append(['mean of classes (ABO)', f'{100 * result["abo"]:.1f}'])
    time = '' if result['seconds_per_image'] is None else f', {result["seconds_per_image"]:.2f} CPU s an image'
    head = f'{result["num_instances"]} instances in {result["num_images"]} images{time}'
    return '\n'.join([head, AsciiTable(rows).table, AsciiTable(classes).table])


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, '--json')
    parser.add_argument('proposals', type=Path, help='folder with one proposal file an image, any known format')
    parser.add_argument('--voc-root', type=Path, default=Path('data/VOCdevkit'), help='VOCdevkit, or VOC2012 in it')
    parser.add_argument('--split', default='val', help='name in ImageSets/Segmentation, or a text file of ids')
    parser.add_argument('--keep-void', action='store_true', help='count void pixels as background')
    parser.add_argument('--limit', type=number(1, kind=int), help='the first images only')
    args = parser.parse_args(argv)
    root, names = split_ids(args.voc_root, args.split)
    names = names[:args.limit]
    result = summarize([
        image_figures(root, name, load_proposals(find_proposal_file(args.proposals, name)), args.keep_void)
        for name in with_bar(names, len(names), 'evaluating')])
    print(table(result))
    if args.json:
        write_json(args.json, result, indent=2)


if __name__ == '__main__':
    sys.exit(main())
