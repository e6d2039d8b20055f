"""Table 1 of the paper, as far as the data at hand allow: runs the passes, prints and writes the table.

    python tools/analysis_tools/table1.py --seeds 0 1 2 --json table1.json \\
        --iam-s5 'work_dirs/iam-s5_{seed}/epoch_40.pth' --spn 'work_dirs/spn_{seed}/epoch_20.pth'

A pass is one config of configs/voc_table1 with one checkpoint; its metrics are the rows. A row whose checkpoint,
proposals or detections are missing is reported as not run, with the reason. docs/table1.md has the rest.
"""
from __future__ import annotations

import argparse
import copy
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from terminaltables import AsciiTable

from mmiam.apis.options import make_parser, tool
from mmiam.models.baselines import load_detections
from mmiam.proposals.io import find_proposal_file
from mmiam.utils.checkpoints import check_fit, read_checkpoint, state_dict_of
from mmiam.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ('mAP_25', 'mAP_50', 'mAP_75', 'ABO')
#: Zhu et al., "Learning Instance Activation Maps for Weakly Supervised Instance Segmentation", CVPR 2019, Table 1:
#: VOC 2012 val, 1,449 images, ResNet-50. "Proposal" is called MCG there. In the order of the paper.
PAPER = {
    'Ground Truth Box Rect': (78.3, 30.2, 4.5, 47.4),
    'Ground Truth Box Ellipse': (81.6, 41.1, 6.6, 51.9),
    'Ground Truth Box Proposal': (69.7, 38.0, 12.3, 53.3),
    'CAM Rect': (18.7, 2.5, 0.1, 18.9),
    'CAM Ellipse': (22.8, 3.9, 0.1, 20.8),
    'CAM Proposal': (20.4, 7.8, 2.5, 23.0),
    'SPN Rect': (29.2, 5.2, 0.3, 23.0),
    'SPN Ellipse': (32.0, 6.1, 0.3, 24.0),
    'SPN Proposal': (26.4, 12.7, 4.4, 27.1),
    'MELM Rect': (36.0, 14.6, 1.9, 26.4),
    'MELM Ellipse': (36.8, 19.3, 2.4, 27.5),
    'MELM Proposal': (36.9, 22.9, 8.4, 32.9),
    'PRM': (44.3, 26.8, 9.0, 37.6),
    'IAM-S1': (45.6, 28.3, 10.4, 41.5),
    'IAM-S5': (45.9, 28.8, 11.9, 41.9),
    'IAM-S9': (45.7, 27.8, 10.5, 41.7),
}
ORDER = [name for row in PAPER for name in (row, f'{row} without ConvCRF')]
MARGIN = ('IAM-S5', 'PRM')  # the claim of the paper: this row over that one


# -- passes ---------------------------------------------------------------------------------------------------------
def load_pass(path: Path, iam: str | None, options: dict | None) -> tuple[Config, dict[str, dict]]:
    """A config of configs/voc_table1 and its rows, name -> post-processor.

    Args:
        path (Path): of the config.
        iam (str, optional): name for the row "IAM", e.g. IAM-S5; the same maps without ConvCRF become a row too.
        options (dict, optional): settings merged into the config.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    metrics = [metric for metric in cfg.test_evaluator if metric.prefix != 'IAM']
    if iam:
        plain = copy.deepcopy(cfg.model.post_processor)
        plain.crf = None
        cfg.model.test_cfg.baselines['iam_wo_crf'] = plain
        metrics += [dict(type='VOCInstanceMetric', prefix=iam),
                    dict(type='VOCInstanceMetric', prefix=f'{iam} without ConvCRF',
                         pred_field='pred_instances_iam_wo_crf')]
    cfg.test_evaluator = metrics
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg', 'train_dataloader', 'train_cfg', 'optim_wrapper',
                'param_scheduler'):
        cfg[key] = None
    cfg.custom_hooks = []
    if cfg.model.get('backbone'):
        cfg.model.backbone.init_cfg = None  # weights come from the checkpoint
    processors = {'pred_instances': cfg.model.post_processor, **{
        f'pred_instances_{name}': one for name, one in cfg.model.test_cfg.baselines.items()}}
    return cfg, {metric['prefix']: processors[metric.get('pred_field', 'pred_instances')] for metric in metrics}


def keep_rows(cfg: Config, rows: dict[str, dict], names: set[str]) -> None:
    """Leave out all other rows, and proposals that none of these reads."""
    cfg.test_evaluator = [metric for metric in cfg.test_evaluator if metric['prefix'] in names]
    fields = {metric.get('pred_field') for metric in cfg.test_evaluator}
    baselines = cfg.model.test_cfg.baselines
    for name in [name for name in baselines if f'pred_instances_{name}' not in fields]:
        baselines.pop(name)
    if not any(reads_proposals(rows[name]) for name in names):
        pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.test_dataloader.dataset.pipeline = [step for step in pipeline if step.type != 'LoadSegmentProposals']
        if reads_proposals(cfg.model.post_processor):
            cfg.model.post_processor = dict(type='ClassMapThreshold')


def reads_proposals(processor: dict) -> bool:
    return processor['type'] == 'ProposalRetrieval' or processor.get('mask') == 'proposal'


def lacking(cfg: Config, rows: dict[str, dict], image_ids: list[str]) -> dict[str, str]:
    """Rows whose proposals or detections are not there, each with the reason."""
    missing, boxes = {}, cfg.model.post_processor.get('boxes', {})
    if boxes.get('type') == 'DetectionFileBoxes':
        try:
            found = load_detections(boxes['path'], boxes['classes'])
            if not set(found).intersection(image_ids):
                raise ValueError(f'{boxes["path"]} has no detection of any of the {len(image_ids)} images')
        except (OSError, ValueError) as error:
            return dict.fromkeys(rows, str(error))
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'LoadSegmentProposals':
            count = 0
            for image_id in image_ids:
                try:
                    find_proposal_file(step.proposal_root, image_id)
                except FileNotFoundError:
                    count += 1
            if count:
                reason = f'no proposals of {count} of {len(image_ids)} images in {step.proposal_root}'
                missing = {name: reason for name, processor in rows.items() if reads_proposals(processor)}
    return missing


def checkpoint_problem(path: str, model: Config) -> str | None:
    """Why a checkpoint does not serve a model: not there, other parameters, or a filling module never trained."""
    try:
        content = read_checkpoint(path)
        state = state_dict_of(content, path)
        check_fit(MODELS.build(copy.deepcopy(model)), state, path)
    except (OSError, ValueError) as error:
        return str(error)
    counters = [int(value) for name, value in state.items()
                if name.startswith('filler.') and name.endswith('num_batches_tracked')]
    if counters and not any(counters) and model.get('filler'):
        return f'the filling module in {path} was never trained'
    trained_with = str((content.get('meta') or {}).get('cfg') or '')
    if model.get('peak_head', {}).get('type') == 'SoftProposalHead' and trained_with and (
            'SoftProposalHead' not in trained_with):
        return f'{path} was trained without soft proposals'
    return None


def by_seed(paths: list[str], seeds: list[str]) -> dict[str, str]:
    """Seed -> path: of ``{seed}`` for each of ``seeds``, of several paths in turn (by default counted from 0)."""
    if any('{seed}' in path for path in paths):
        if len(paths) > 1 or not seeds:
            raise ValueError(f'{paths}: one path with {{seed}} in it, and --seeds, or a path for each seed')
        return {seed: paths[0].replace('{seed}', seed) for seed in seeds}
    if seeds and len(paths) > len(seeds):
        raise ValueError(f'{paths}: more checkpoints than seeds {seeds}')
    return dict(zip(seeds or map(str, range(len(paths))), paths))


# -- the table --------------------------------------------------------------------------------------------------------
def named(values) -> dict[str, float | None]:
    """Figures by name, rounded; None for NaN, which has no place in json."""
    return {key: None if math.isnan(value) else round(float(value), 2) for key, value in zip(FIGURES, values)}


def deviation(values: np.ndarray) -> np.ndarray:
    """Sample standard deviation (n - 1) over the runs (n, figures); NaN for one run."""
    return values.std(0, ddof=1) if len(values) > 1 else np.full(len(FIGURES), np.nan)


def summarize(runs: dict[str, dict[str, list[float]]], not_run: dict[str, str]) -> dict:
    """The table as json-ready content (docs/table1.md) from row -> seed -> figures in percent, and row -> reason."""
    values = {name: np.array(list(runs[name].values())) for name in sorted(runs, key=ORDER.index)}
    content = dict(
        rows={name: named(each.mean(0)) for name, each in values.items()},
        std={name: named(deviation(each)) for name, each in values.items()},
        runs={name: {seed: named(run) for seed, run in runs[name].items()} for name in values},
        not_run={name: not_run[name] for name in sorted(not_run, key=ORDER.index)},
        paper={name: named(paper) for name, paper in PAPER.items()})
    better, worse = (runs.get(name, {}) for name in MARGIN)
    margins = np.array([np.subtract(better[seed], worse[seed]) for seed in better if seed in worse])
    if len(margins):
        content['margin'] = dict(rows=list(MARGIN), mean=named(margins.mean(0)), std=named(deviation(margins)),
                                 paper=named(np.subtract(*(PAPER[name] for name in MARGIN))))
    return content


def table(content: dict) -> str:
    """The rows as text, with deviation and number of runs, the paper's figures in brackets; why rows are missing."""
    def cells(mean, deviation, paper, sign=''):
        for key in FIGURES:
            own = '-' if mean.get(key) is None else f'{mean[key]:{sign}.1f}'
            own += '' if deviation.get(key) is None else f' ±{deviation[key]:.1f}'
            yield own if key not in paper else f'{own} ({paper[key]:{sign}.1f})'

    lines = [['', 'runs', *(f'{key} (paper)' for key in FIGURES)]]
    for name in sorted({*content['rows'], *content['not_run']}, key=ORDER.index):
        count = str(len(content['runs'].get(name, ()))) if name in content['rows'] else 'not run'
        lines.append([name, count, *cells(content['rows'].get(name, {}), content['std'].get(name, {}),
                                          content['paper'].get(name, {}))])
    if 'margin' in content:
        margin = content['margin']
        lines.append([' - '.join(margin['rows']), '', *cells(margin['mean'], margin['std'], margin['paper'], '+')])
    return (f'mAP^r and ABO in percent, {content["images"]} images (in brackets: the paper, VOC 2012 val, ResNet-50)\n'
            + AsciiTable(lines).table + '\n±: standard deviation over runs (n - 1).'
            + ''.join(f'\n{name}: not run: {reason}' for name, reason in content['not_run'].items()))


# -- the command ------------------------------------------------------------------------------------------------------
def plan(args: argparse.Namespace) -> list[tuple[str, str | None, str, dict[str, str | None]]]:
    """(config, name of its row IAM or None for a pass without, option of its checkpoint, seed -> checkpoint)."""
    def checkpoints(option):
        return by_seed(getattr(args, option.replace('-', '_')) or [], args.seeds)

    passes = [('gt-box', None, '', {'-': None}), ('melm', None, '', {'-': None})]
    if args.prm:
        passes.append((args.recipe, None, 'prm', checkpoints('prm')))
    passes += [(args.recipe, f'IAM-S{k}', f'iam-s{k}', checkpoints(f'iam-s{k}')) for k in (5, 1, 9)]
    return [*passes, ('spn_' + args.recipe.rpartition('_')[2], None, 'spn', checkpoints('spn'))]


def prepare(args: argparse.Namespace, stem: str, iam: str | None) -> tuple[Config, dict[str, dict]]:
    """Config of a pass, and its rows as far as they are asked for; CAM and PRM belong to --prm or to IAM-S5."""
    cfg, rows = load_pass(args.configs / f'{stem}.py', iam, args.cfg_options)
    if iam and (args.prm or iam != 'IAM-S5'):
        rows = {name: one for name, one in rows.items() if name.startswith(iam)}
    if iam is None and cfg.model.get('filler'):  # the classifier inside
        cfg.model.update(filler=None, sampler=None, post_processor=dict(type='ClassMapThreshold'))
    return cfg, {name: one for name, one in rows.items() if not args.rows or name in args.rows}


def make_table(args: argparse.Namespace, command: str) -> dict:
    """Run what can be run; the content of the json file, see docs/table1.md."""
    init_default_scope('mmdet')
    passes = plan(args)
    dataset = DATASETS.build(prepare(args, 'gt-box', None)[0].test_dataloader.dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    image_ids, classes = [str(info['img_id']) for info in infos], dataset.metainfo['classes']
    present = [classes[label] for label in sorted({label for info in infos for label in info['image_labels']})]
    commit = subprocess.run(['git', '-C', str(ROOT), 'describe', '--always', '--abbrev=40', '--dirty'],
                            capture_output=True, text=True).stdout.strip() or None
    seeds = list(dict.fromkeys(seed for one in passes for seed, path in one[3].items() if path))
    header = dict(command=command, commit=commit, seeds=seeds, images=len(image_ids), classes_present=present,
                  num_classes=len(classes), complete=False)
    print(f'{len(image_ids)} images with {len(present)} of {len(classes)} classes', flush=True)
    runs, not_run = {}, {}
    for number, (stem, iam, option, checkpoints) in enumerate(passes):
        cfg, rows = prepare(args, stem, iam)
        missing = lacking(cfg, rows, image_ids)
        keep = [name for name in rows if name not in missing]
        not_run.update(missing, **({} if checkpoints else dict.fromkeys(keep, f'no checkpoint: --{option} PATH')))
        if not keep:
            continue
        keep_rows(cfg, rows, set(keep))
        for seed, path in checkpoints.items():
            problem = path and checkpoint_problem(path, cfg.model)
            print(f'{path or "no network"}: {", ".join(keep)}{f": not run: {problem}" if problem else ""}', flush=True)
            if problem:
                not_run.update(dict.fromkeys(keep, f'seed {seed}: {problem}'))
                continue
            found = run_pass(cfg, path, keep, args.work_dir, f'table1_{os.getpid()}_{number}_{seed}')
            for row, values in found.items():
                runs.setdefault(row, {})[seed] = values
            if args.json:
                write_json(args.json, {**summarize(runs, not_run), **header})
    return {**summarize(runs, not_run), **header, 'complete': True}


def run_pass(cfg: Config, checkpoint: str | None, rows: list[str], work_dir: str, name: str) -> dict[str, list[float]]:
    """Figures of each row of a pass; ``name`` is of mmengine's run, one of a kind in a process."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.load_from, cfg.experiment_name, cfg.visualizer.name = work_dir, checkpoint, name, name
    metrics = Runner.from_cfg(cfg).test()
    return {row: [metrics[f'{row}/{key}'] for key in FIGURES] for row in rows}


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, '--cfg-options', '--json')
    parser.add_argument('--recipe', default='iam_r50', help='config of --configs that evaluates IAM: iam_r50 or '
                        'iam_mbv2 (the paper), iam-plus_r50 or iam-plus_mbv2 (ours)')
    parser.add_argument('--configs', type=Path, default=ROOT / 'configs' / 'voc_table1', help='folder of the passes')
    for name, rows in (('iam-s1', 'IAM-S1'), ('iam-s5', 'IAM-S5, and of CAM and PRM'), ('iam-s9', 'IAM-S9'),
                       ('spn', 'SPN'), ('prm', 'CAM and PRM, where it is not that of IAM-S5')):
        parser.add_argument(f'--{name}', nargs='+', metavar='CHECKPOINT', help=f'of {rows}: one path with {{seed}} in '
                            'it, or a path for each seed')
    parser.add_argument('--seeds', nargs='+', default=[], help='names of the seeds')
    parser.add_argument('--rows', nargs='+', choices=ORDER, metavar='ROW', help='only these')
    parser.add_argument('--work-dir', default=os.path.join('work_dirs', 'table1'), help='folder for logs')
    args = parser.parse_args(argv)
    command = shlex.join(['python', 'tools/analysis_tools/table1.py', *(sys.argv[1:] if argv is None else argv)])
    content = make_table(args, command)
    print(table(content))
    if args.json:
        write_json(args.json, content)


if __name__ == '__main__':
    sys.exit(main())
