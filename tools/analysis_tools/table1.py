"""Table 1 of the paper, as far as the data at hand allow.

    python tools/analysis_tools/table1.py --data-root data/VOCdevkit/VOC2012 --proposal-root data/proposals/voc2012 \\
        --checkpoints 'iam-s5=work_dirs/iam-s5_{seed}/epoch_40.pth' 'spn=work_dirs/spn_{seed}/epoch_20.pth' \\
        --seeds 0 1 2 --json docs/results/table1.json

Each config in --configs is a row. Rows that share a checkpoint share one pass over the images. A row whose
checkpoint, proposals or detections are missing is reported as not run, with the reason. docs/table1.md has the rest.
"""
from __future__ import annotations

import argparse
import os
import os.path as osp
import shlex
import subprocess
import sys

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from terminaltables import AsciiTable

import mmiam  # noqa: F401  (registers everything and makes mmdet importable on mmcv-lite)
from mmiam.engine.table1_checkpoints import parse_checkpoints
from mmiam.engine.table1_rows import Pass, Row, load_rows, pass_config, plan_passes, prepare
from mmiam.evaluation.table1 import FIGURES, PAPER, summarize, table_rows
from mmiam.utils.files import write_json

ROOT = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', help="VOC's folder (default: that of the configs, which VOC_ROOT sets)")
    parser.add_argument('--ann-file', help='image list below it (default: that of the configs, val.txt)')
    parser.add_argument('--proposal-root', help='proposals of these images (default: of the configs, VOC_PROPOSALS)')
    parser.add_argument('--detections', metavar='FILE.json',
                        help="MELM's detections (default: of the configs, MELM_DETECTIONS)")
    parser.add_argument('--configs', default=osp.join(ROOT, 'configs', 'voc_table1'),
                        help='folder with a config a row; configs/voc_table1/mbv2 has those on MobileNetV2')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='only these, by name of config or row')
    parser.add_argument('--checkpoints', nargs='+', default=[], metavar='FILE|NAME=PATH',
                        help='NAME is iam-s1, iam-s5, iam-s9, spn, prm (default: the classifier of iam-s5), or a '
                        'config; several paths of a name are several seeds, {seed} in a path is each of --seeds')
    parser.add_argument('--seeds', nargs='+', default=[], help='names of the seeds')
    parser.add_argument('--json', metavar='FILE', help='write the table to this file, after each pass')
    parser.add_argument('--work-dir', default=osp.join('work_dirs', 'table1'), help='folder for logs')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings of every row, key=value')
    return parser.parse_args(argv)


def collect_rows(args: argparse.Namespace) -> list[Row]:
    """The rows asked for, with the command line's settings."""
    options = dict(args.cfg_options or {})
    for key, value in (('data_root', args.data_root), ('ann_file', args.ann_file)):
        if value is not None:
            options[f'test_dataloader.dataset.{key}'] = value
    rows = load_rows(args.configs, options, args.proposal_root, args.detections)
    if args.rows:
        unknown = [name for name in args.rows if not any(name in (row.stem, row.name) for row in rows)]
        if unknown:
            raise ValueError(f'--rows: {unknown} not among {[row.stem for row in rows]}')
        rows = [row for row in rows if row.stem in args.rows or row.name in args.rows]
    return rows


def check_names(checkpoints: dict, rows: list[Row], seeds: list[str]) -> None:
    """Raise a ValueError for checkpoints of unknown names."""
    known = dict.fromkeys(name for row in rows for name in (*row.cfg.weights, row.stem) if row.cfg.weights)
    unknown = [name for name in checkpoints if name not in known]
    if unknown:
        raise ValueError(f'--checkpoints: no row uses {unknown}; names are {list(known)}')


def describe_data(rows: list[Row]) -> tuple[list[str], list[str], int]:
    """Image ids, names of the classes that occur in them (by the labels of the images), number of all classes."""
    from mmdet.registry import DATASETS
    dataset = DATASETS.build(rows[0].cfg.test_dataloader.dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    present = sorted({label for info in infos for label in info['image_labels']})
    classes = dataset.metainfo['classes']
    return [str(info['img_id']) for info in infos], [classes[label] for label in present], len(classes)


def run_pass(one: Pass, work_dir: str, index: int) -> list[dict[str, float]]:
    """Figures of each row of a pass, in its order."""
    cfg = pass_config(one)
    cfg.work_dir = work_dir
    cfg.experiment_name = cfg.visualizer.name = f'table1_{os.getpid()}_{index}'
    metrics = Runner.from_cfg(cfg).test()
    return [{key: float(metrics[f'{row.stem}/{key}']) for key in FIGURES} for row, _ in one.members]


def code_version() -> str | None:
    """Commit of the code, with '-dirty' if tracked files differ from it; None outside a git repository."""
    try:
        commit = subprocess.run(['git', '-C', ROOT, 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True)
        state = subprocess.run(['git', '-C', ROOT, 'status', '--porcelain', '--untracked-files=no'],
                               capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ('-dirty' if state.stdout.strip() else '')


def make_table(args: argparse.Namespace, command: str) -> dict:
    """Run what can be run.

    Returns:
        dict: The content of the json file, see docs/table1.md.
    """
    init_default_scope('mmdet')
    rows = collect_rows(args)
    checkpoints = parse_checkpoints(args.checkpoints, args.seeds)
    check_names(checkpoints, rows, args.seeds)
    image_ids, classes, num_classes = describe_data(rows)
    for row in rows:
        prepare(row, checkpoints, image_ids)
    not_run = {row.name: row.missing for row in rows if row.missing}
    if not args.rows:
        not_run |= {name: f'no config in {args.configs}' for name in PAPER if not any(r.name == name for r in rows)}
    passes = plan_passes(rows)
    seeds = list(dict.fromkeys(seed for row in rows for seed, path in row.runs.items() if path))
    header = dict(command=command, commit=code_version(), seeds=seeds, images=len(image_ids),
                  classes_present=classes, num_classes=num_classes,
                  notes={row.name: row.notes for row in rows if row.notes})
    print(f'{len(image_ids)} images with {len(classes)} of {num_classes} classes; {len(passes)} passes for '
          f'{sum(len(one.members) for one in passes)} results', flush=True)
    runs: dict[str, dict] = {}
    for index, one in enumerate(passes):
        print(f'pass {index + 1} of {len(passes)}: {one.checkpoint or "no network"}: '
              + ', '.join(row.name for row, _ in one.members), flush=True)
        for (row, seed), figures in zip(one.members, run_pass(one, args.work_dir, index)):
            runs.setdefault(row.name, {})[seed] = figures
        if args.json:
            write_json(args.json, summarize(runs, not_run) | header | dict(complete=index + 1 == len(passes)))
    return summarize(runs, not_run) | header | dict(complete=True)


def print_table(content: dict) -> None:
    """The table, with the paper's figures in brackets, and why rows are missing."""
    title = f'mAP^r and ABO in percent, {content["images"]} images (in brackets: the paper, VOC 2012 val, ResNet-50)'
    print('\n' + title)
    print(AsciiTable(table_rows(content)).table)
    print('±: standard deviation over runs (n - 1).')
    for name, reason in content['not_run'].items():
        print(f'{name}: not run: {reason}')
    for name, notes in content['notes'].items():
        print(f'{name}: {"; ".join(notes)}')


def main(argv=None) -> int:
    args = parse_args(argv)
    arguments = sys.argv[1:] if argv is None else argv
    try:
        content = make_table(args, 'python tools/analysis_tools/table1.py ' + shlex.join(arguments))
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print_table(content)
    if args.json:
        write_json(args.json, content)
        print(f'written to {args.json}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
