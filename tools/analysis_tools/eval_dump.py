"""Evaluate dumped predictions again, without model and images.

    python tools/analysis_tools/eval_dump.py work_dirs/run/iam.json [MORE …] --void ignore

The dumps are written by ``tools/test.py CONFIG CHECKPOINT --out work_dirs/run/iam.json``, that is by
``VOCInstanceMetric(dump='work_dirs/run/iam.json')``.
"""
from __future__ import annotations

import os
import sys

import numpy as np
import torch
from mmengine.structures import InstanceData
from rich.progress import track
from terminaltables import AsciiTable

from mmiam.apis.options import make_parser, number, tool
from mmiam.apis.photos import one_a_region
from mmiam.evaluation.dump import load_dump
from mmiam.evaluation.functional.records import class_table, evaluate_records, mask_rles, record_overlaps
from mmiam.utils.files import write_json
from mmiam.utils.rle import decode_masks, rle_areas

#: edges of the size groups, as shares of the image's area, and the overlap below which an object counts as missed
SIZE_EDGES, MISSED = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 1.01), 0.1
SCORE_THRS = np.arange(0.3, 0.8, 0.05)


def evaluate_dump(dump: dict, iou_thrs: list[float], void: str, coco: bool) -> dict[str, float]:
    """Figures of one dump, whose tables by class, by size and by least score are printed.

    Args:
        dump (dict): As :func:`mmiam.evaluation.dump.load_dump` gives it.
        iou_thrs (list[float]): IoU thresholds.
        void (str): ``'background'`` or ``'ignore'``.
        coco (bool): Whether mmdet's CocoMetric evaluates the same predictions too.

    Returns:
        dict[str, float]: Figures in percent; CocoMetric's (``coco/…``) are fractions, as it gives them.
    """
    progress = track(dump['images'], description='evaluating', transient=True)
    scores = evaluate_records(progress, len(dump['classes']), iou_thrs, void)
    print(AsciiTable(class_table(scores, dump['classes'])).table)
    print(AsciiTable(size_table(dump['images'], scores.best)).table)
    print(AsciiTable(f1_table(dump['images'])).table)
    return {**scores.metrics(), **(coco_figures(dump) if coco else {})}


def size_table(records: list[dict], best: np.ndarray) -> list[list[str]]:
    """How objects of each size fare: their number, mean best overlap, and how many have less than :data:`MISSED`.

    Args:
        records (list[dict]): All images, m true instances in all that are not to be ignored.
        best (ndarray): Highest IoU of each with a prediction of its class, (m,) in [0, 1].
    """
    share = np.array([
        area / (record['height'] * record['width']) for record in records
        for area, flag in zip(rle_areas(mask_rles(record['ground_truth'], record)),
                              record['ground_truth']['ignore_flags']) if not flag])
    rows = [['share of the image', 'objects', 'best overlap, %', f'below {MISSED}, %']]
    for low, high in zip(SIZE_EDGES, SIZE_EDGES[1:]):
        group = best[(share >= low) & (share < high)]
        if len(group):
            rows.append([f'{low:g} to {high:g}', str(len(group)), f'{100 * group.mean():.1f}',
                         f'{100 * (group < MISSED).mean():.0f}'])
    return rows


def f1_table(records: list[dict]) -> list[list[str]]:
    """F1 at an IoU of 0.5 by the least score, of one mask a region as pictures show them (``mmiam predict``)."""
    counts = np.zeros((len(SCORE_THRS), 3), int)  # right, shown, true
    for record in records:
        overlaps, found = record_overlaps(record, 'background'), record['predictions'] or dict(masks=[], scores=[])
        masks = decode_masks(mask_rles(found, record), (record['height'], record['width']))
        instances = InstanceData(masks=torch.from_numpy(masks), labels=torch.from_numpy(overlaps.labels),
                                 scores=torch.tensor(found['scores']), index=torch.arange(len(masks)))
        of_class = overlaps.iou * (overlaps.labels[:, None] == overlaps.gt_labels)
        for row, thr in zip(counts, SCORE_THRS):
            shown = one_a_region(instances, thr) if len(instances) else instances
            free = np.ones(len(overlaps.gt_labels), bool)
            for iou in of_class[shown.index]:  # best first; each true mask once
                if (iou * free).max(initial=0) >= 0.5:
                    free[(iou * free).argmax()] = False
            row += ((~free).sum(), len(shown), len(free))
    return [['least score', 'F1, %', 'precision, %', 'recall, %']] + [
        [f'{thr:.2f}', *(f'{100 * part / max(whole, 1):.1f}' for part, whole in
                         ((2 * right, shown + true), (right, shown), (right, true)))]
        for thr, (right, shown, true) in zip(SCORE_THRS, counts)]


def coco_figures(dump: dict) -> dict[str, float]:
    """Box and mask AP by mmdet's CocoMetric (101 points, void as background)."""
    from mmdet.evaluation import CocoMetric
    metric = CocoMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=tuple(dump['classes']))
    for record in dump['images']:
        predictions, truth = record['predictions'], record['ground_truth']
        instances = [
            dict(bbox=box, bbox_label=label, mask=mask, ignore_flag=flag) for box, label, mask, flag in
            zip(truth['bboxes'], truth['labels'], mask_rles(truth, record), truth['ignore_flags'])]
        metric.process({}, [dict(
            img_id=record['img_id'], ori_shape=(record['height'], record['width']), instances=instances,
            pred_instances=dict(bboxes=torch.tensor(predictions['bboxes']).reshape(-1, 4),
                                scores=torch.tensor(predictions['scores']),
                                labels=torch.tensor(predictions['labels'], dtype=torch.long),
                                masks=mask_rles(predictions, record)))])
    return metric.evaluate(len(dump['images']))


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, '--json')
    parser.add_argument('dumps', nargs='+', help='files written by tools/test.py --out')
    parser.add_argument('--iou-thrs', type=number(0, 1), nargs='+', default=[.25, .5, .75])
    parser.add_argument('--void', choices=['background', 'ignore'], default='background',
                        help='background: the published protocol; ignore: void pixels count nowhere')
    parser.add_argument('--coco', action='store_true', help="also mmdet's CocoMetric on the same predictions")
    args = parser.parse_args(argv)
    results = {}
    for path in args.dumps:
        print(path)
        results[path] = evaluate_dump(load_dump(path), args.iou_thrs, args.void, args.coco)
    keys = list(next(iter(results.values())))
    rows = [['dump'] + keys] + [[os.path.basename(path)] + [f'{figures[key]:.2f}' for key in keys]
                                for path, figures in results.items()]
    print(AsciiTable(rows).table)
    if args.json:
        write_json(args.json, results)


if __name__ == '__main__':
    sys.exit(main())
