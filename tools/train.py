"""Train a model: ``python tools/train.py CONFIG``. Flags are those of mmdet's tool.

Exit status: 2 for wrong use (arguments, config, files), 1 for a training that failed, each with one sentence.
"""
from __future__ import annotations

import argparse
import os
import sys

from mmengine.config import Config

from mmiam.apis.options import given_config, make_parser, tool
from mmiam.engine import check_config_files, close_cpu_group, open_cpu_group, use_safe_loader
from mmiam.engine.preflight import check_own_initializers, check_proposals, latest_checkpoint
from mmiam.engine.runs import add_guards, build_runner, lock_work_dir
from mmiam.utils.jobs import LAUNCHERS


def load_config(args: argparse.Namespace) -> Config:
    """The config with the command line's settings merged in."""
    cfg = given_config(args)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if args.launcher != 'none':  # else each process evaluates with the batch norm statistics of its own share
        cfg.default_hooks.setdefault('sync_buffers', dict(type='SyncBuffersHook'))
    cfg.resume = args.resume is not None
    if args.resume == 'auto':
        latest = latest_checkpoint(cfg.work_dir)
        cfg.resume = latest is not None
        cfg.load_from = latest or cfg.get('load_from')
    elif cfg.resume:
        cfg.load_from = args.resume
    add_guards(cfg)
    return cfg


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, 'config', '--work-dir', '--cfg-options', '--launcher', '--local_rank --local-rank')
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--resume', nargs='?', type=str, const='auto',
                        help='resume from this checkpoint; without a path, from the latest one in the work dir')
    cfg = load_config(parser.parse_args(argv))
    use_safe_loader()
    check_config_files(cfg, training=True)
    opened = open_cpu_group(cfg)
    first = cfg.launcher == 'none' or os.environ.get(LAUNCHERS[cfg.launcher][0], '0') == '0'
    with lock_work_dir(cfg.work_dir, first):
        runner = build_runner(cfg)
        check_own_initializers(runner.model)
        check_proposals(runner.train_loop.dataloader.dataset)
        runner.train()
    if opened:
        close_cpu_group()


if __name__ == '__main__':
    sys.exit(main())
