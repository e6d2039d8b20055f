"""Evaluate dumped predictions again, without model and images.

    python tools/analysis_tools/eval_dump.py work_dirs/run/iam.json [MORE …] --void ignore

The dumps are written by ``tools/test.py CONFIG CHECKPOINT --out work_dirs/run/iam.json``, that is by
``VOCInstanceMetric(dump='work_dirs/run/iam.json')``.
"""
from __future__ import annotations

import argparse
import os

from rich.progress import track
from terminaltables import AsciiTable

import mmiam  # noqa: F401
from mmiam.evaluation.dump import load_dump
from mmiam.evaluation.functional.records import class_table, evaluate_records, mask_rles
from mmiam.utils.files import write_json


def evaluate_dump(dump: dict, iou_thrs: list[float], void: str, coco: bool = False,
                  classwise: bool = True) -> dict[str, float]:
    """Figures of one dump.

    Args:
        dump (dict): As :func:`mmiam.evaluation.dump.load_dump` gives it.
        iou_thrs (list[float]): IoU thresholds.
        void (str): ``'background'`` or ``'ignore'``.
        coco (bool): Whether mmdet's CocoMetric evaluates the same predictions too.
        classwise (bool): Whether the table by class is printed.

    Returns:
        dict[str, float]: Figures in percent; CocoMetric's (``coco/…``) are fractions, as it gives them.
    """
    records = dump['images']
    progress = track(records, description='evaluating', transient=True)
    scores = evaluate_records(progress, len(dump['classes']), iou_thrs, void)
    if classwise:
        print(AsciiTable(class_table(scores, dump['classes'])).table)
    figures = scores.metrics()
    if coco:
        figures.update(coco_figures(dump))
    return figures


def coco_figures(dump: dict) -> dict[str, float]:
    """Box and mask AP by mmdet's CocoMetric (101 points, void as background)."""
    import torch
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('dumps', nargs='+', help='files written by tools/test.py --out')
    parser.add_argument('--iou-thrs', type=float, nargs='+', default=[.25, .5, .75])
    parser.add_argument('--void', choices=['background', 'ignore'], default='background',
                        help='background: the published protocol; ignore: void pixels count nowhere')
    parser.add_argument('--coco', action='store_true', help="also mmdet's CocoMetric on the same predictions")
    parser.add_argument('--json', help='write the figures to this file')
    args = parser.parse_args()
    results = {}
    try:
        for path in args.dumps:
            print(path)
            results[path] = evaluate_dump(load_dump(path), args.iou_thrs, args.void, args.coco)
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    keys = list(next(iter(results.values())))
    rows = [['dump'] + keys] + [[os.path.basename(path)] + [f'{figures[key]:.2f}' for key in keys]
                                for path, figures in results.items()]
    print(AsciiTable(rows).table)
    if args.json:
        write_json(args.json, results)


if __name__ == '__main__':
    main()
