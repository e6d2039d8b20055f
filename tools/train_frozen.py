"""Trains head and filling module on a frozen backbone, whose outputs are stored once (mmiam/engine/frozen_training.py).

    python tools/train_frozen.py configs/iam-plus_lite2_voc.py --work-dir work_dirs/voc20 --seed 0

The same command goes on after an interruption. WORK_DIR/model.pth has the weights, WORK_DIR/train.log the log.
"""
from __future__ import annotations

import argparse
import os
import os.path as osp
import sys

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
from mmengine.config import DictAction
from mmengine.logging import MMLogger

from mmiam.apis.options import device_name, given_config, run_tool
from mmiam.engine.frozen_training import Recipe, plain_dataset, train_frozen
from mmiam.engine.runs import lock_work_dir


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file; its train_dataloader.dataset are the images')
    parser.add_argument('--work-dir', help='default: work_dirs/<config name>')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--effort', type=float, default=1., help='factor of the steps that follow from the images')
    parser.add_argument('--head-steps', type=int, help='steps of the head in place of that')
    parser.add_argument('--fill-steps', type=int, help='steps of the filling module in place of that')
    parser.add_argument('--load-from', help='checkpoint to start from')
    parser.add_argument('--features', help='folder of stored features, which runs may share (default: in WORK_DIR)')
    parser.add_argument('--pseudo-masks', help="folder of another run's pseudo masks, its WORK_DIR/mined-...; default: "
                        "they are made with this run's head")
    parser.add_argument('--shard', help="'0/2', '1/2': features and pseudo masks of a share of the images alone; a run "
                        'without it does the rest')
    parser.add_argument('--device', help='default: a CUDA device where there is one, else the CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
    return parser.parse_args(argv)


def train(args: argparse.Namespace) -> int:
    """Exit status 1 if an image cannot be read; the others are done."""
    work_dir = args.work_dir or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg = given_config(args)
    recipe = Recipe.for_images(len(plain_dataset(cfg, proposals=False)), args.effort)
    recipe.head_steps = args.head_steps or recipe.head_steps
    recipe.fill_steps = args.fill_steps or recipe.fill_steps
    with lock_work_dir(work_dir, first=args.shard is None):
        os.makedirs(work_dir, exist_ok=True)
        logger = MMLogger.get_instance('train_frozen', log_file=osp.join(work_dir, 'train.log'))
        logger.info(f'{args.config}, seed {args.seed}, {recipe}')
        outcome = train_frozen(cfg, work_dir, recipe, args.seed, args.load_from, device_name(args.device),
                               args.features, args.shard, mined_in=args.pseudo_masks)
    for path, error in outcome.failed.items():
        logger.warning(f'{path}: {error}')
    logger.info(outcome.checkpoint or f'share {args.shard} is done')
    return 1 if outcome.failed else 0


def main(argv=None) -> int:
    args = parse_args(argv)
    return run_tool(lambda: train(args))


if __name__ == '__main__':
    sys.exit(main())
