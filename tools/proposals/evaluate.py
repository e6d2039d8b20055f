"""Measures how well segment proposals cover VOC's instances. For analysis: nothing of it may enter training.

    python tools/proposals/evaluate.py data/proposals/builtin --voc-root data/VOCdevkit --split val --json out.json

Void pixels count neither in intersections nor in unions, as in MCG's benchmark; --keep-void counts them.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from quality import COUNTS, RECALL_THRESHOLDS, image_figures, split_ids, summarize
from terminaltables import AsciiTable

from mmiam.apis.options import make_parser, number, tool
from mmiam.datasets.voc_palette import VOC_CLASSES
from mmiam.proposals.io import find_proposal_file, load_proposals
from mmiam.utils.files import write_json
from mmiam.utils.jobs import with_bar


def evaluate(proposal_root: Path, voc_root: Path, split: str, keep_void: bool = False,
             limit: int | None = None) -> dict:
    """Figures of the proposals in a folder over the images of a split (name or file of ids)."""
    root, names = split_ids(voc_root, split)
    best, classes, numbers, seconds = [np.zeros((0, len(COUNTS) + 1))], [], [], []
    for name in with_bar(names[:limit], len(names[:limit]), 'evaluating'):
        proposals = load_proposals(find_proposal_file(proposal_root, name))
        numbers.append(len(proposals))
        if proposals.seconds is not None:
            seconds.append(proposals.seconds)
        figures, labels = image_figures(root, name, proposals, keep_void)
        best.append(figures)
        classes += labels
    result = summarize(np.concatenate(best), np.array(classes, int), numbers, VOC_CLASSES)
    result['seconds_per_image'] = float(np.mean(seconds)) if seconds else None
    return result


def table(result: dict) -> str:
    """The figures as text, in percent."""
    rows = [['proposals', 'mean best IoU', *(f'recall@{t}' for t in RECALL_THRESHOLDS)]]
    for count in (*COUNTS, None):
        suffix = '' if count is None else f'_at_{count}'
        keys = [f'mean_best_iou{suffix}', *(f'recall_{t * 100:.0f}{suffix}' for t in RECALL_THRESHOLDS)]
        name = f'all ({result["mean_proposals"]:.0f} an image)' if count is None else f'first {count}'
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
    result = evaluate(args.proposals, args.voc_root, args.split, args.keep_void, args.limit)
    print(table(result))
    if args.json:
        write_json(args.json, result, indent=2)


if __name__ == '__main__':
    sys.exit(main())
