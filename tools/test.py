"""Test a model: ``python tools/test.py CONFIG CHECKPOINT``. Flags are those of mmdet's tool.

Exit status: 2 for wrong use (arguments, config, files), 1 for a test that failed, each with one sentence.
"""
from __future__ import annotations

import os
import sys

from mmengine.config import Config

from mmiam.apis.options import given_config, make_parser, tool
from mmiam.engine import check_config_files, close_cpu_group, open_cpu_group, use_safe_loader
from mmiam.engine.runs import add_guards, build_runner
from mmiam.utils.files import atomic_write


def add_dump(cfg: Config, path: str) -> None:
    """Have the VOCInstanceMetric(s) write what they evaluate."""
    if not path.endswith('.json'):
        raise ValueError(f'--out {path}: the file is json, name it *.json')
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    metrics = [metric for metric in evaluators if metric['type'] == 'VOCInstanceMetric']
    if not metrics:
        raise ValueError('--out needs a VOCInstanceMetric in test_evaluator')
    if os.path.isdir(path):
        raise ValueError(f'--out {path} is a folder')
    atomic_write(f'{path}.probe', b'')  # what cannot be written is found out now, not after the test
    os.unlink(f'{path}.probe')
    stem = path[:-len('.json')]
    for metric in metrics:
        name = metric.get('prefix')
        metric['dump'] = path if len(metrics) == 1 or not name else f'{stem}_{name}.json'


@tool
def main(argv=None) -> None:
    # of a model without parameters there is no checkpoint
    parser = make_parser(__doc__, 'config', 'checkpoint?', '--work-dir', '--cfg-options', '--launcher',
                         '--local_rank --local-rank')
    parser.add_argument('--out', metavar='FILE.json', help='write predictions and ground truth (RLE), to be evaluated '
                        'again without a model by tools/analysis_tools/eval_dump.py')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation by tta_model and tta_pipeline of the config')
    args = parser.parse_args(argv)
    cfg = given_config(args)
    cfg.load_from = args.checkpoint
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, test_out_dir=args.show_dir)
    if args.out:
        add_dump(cfg, args.out)
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise ValueError(f'{args.config} has no tta_model and tta_pipeline; _base_/tiles.py has some to add')
        cfg.model = dict(cfg.tta_model, module=cfg.model)
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    add_guards(cfg)
    use_safe_loader()
    check_config_files(cfg, training=False)
    if cfg.launcher != 'none' and cfg.model.type == 'PrecomputedPredictions':
        raise ValueError(f'{cfg.filename}: there is no network to share out to several processes; leave out --launcher')
    opened = open_cpu_group(cfg)
    runner = build_runner(cfg)
    if cfg.load_from is None and any(True for _ in runner.model.parameters()):
        raise ValueError(f'{cfg.filename}: this model has parameters; give the checkpoint with its weights')
    runner.test()
    if opened:
        close_cpu_group()


if __name__ == '__main__':
    sys.exit(main())
