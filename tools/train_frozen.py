"""Trains head and filling module on a frozen backbone, whose outputs are stored once (mmiam/engine/frozen_training).

    python tools/train_frozen.py configs/iam-plus_lite2_voc.py --work-dir work_dirs/voc20 --seed 0

The images are those of the config's train_dataloader.dataset. The same command goes on after an interruption. With
--shard features and pseudo masks of a share of the images alone are made; a run without it does the rest.
WORK_DIR/model.pth has the weights, WORK_DIR/train.log the log.
"""
from __future__ import annotations

import os
import os.path as osp
import sys

from mmengine.logging import MMLogger

from mmiam.apis.options import device_name, given_config, make_parser, number, tool
from mmiam.engine.frozen_training import Recipe, build_plain_dataset, train_frozen
from mmiam.engine.runs import lock_work_dir


@tool
def main(argv=None) -> int:
    parser = make_parser(__doc__, 'config', '--work-dir', '--seed', '--shard', '--device', '--cfg-options')
    parser.add_argument('--effort', type=number(0.001, 1000), default=1.,
                        help='factor of the steps that follow from the images')
    parser.add_argument('--head-steps', type=number(1, kind=int), help='steps of the head in place of that')
    parser.add_argument('--fill-steps', type=number(1, kind=int), help='steps of the filling module in place of that')
    parser.add_argument('--load-from', help='checkpoint to start from')
    parser.add_argument('--features', help='folder of stored features, which runs may share (default: in WORK_DIR)')
    parser.add_argument('--pseudo-masks', help="folder of another run's pseudo masks, its WORK_DIR/mined-...; default: "
                        "they are made with this run's head")
    args = parser.parse_args(argv)
    cfg = given_config(args)
    recipe = Recipe.for_images(len(build_plain_dataset(cfg, proposals=False)), args.effort)
    recipe.head_steps = args.head_steps or recipe.head_steps
    recipe.fill_steps = args.fill_steps or recipe.fill_steps
    with lock_work_dir(cfg.work_dir, first=args.shard is None):
        os.makedirs(cfg.work_dir, exist_ok=True)
        logger = MMLogger.get_instance('train_frozen', log_file=osp.join(cfg.work_dir, 'train.log'))
        logger.info(f'{args.config}, seed {args.seed}, {recipe}')
        outcome = train_frozen(cfg, cfg.work_dir, recipe, args.seed, args.load_from, device_name(args.device),
                               args.features, args.shard, mined_in=args.pseudo_masks)
    for path, error in outcome.failed.items():
        logger.warning(f'{path}: {error}')
    logger.info(outcome.checkpoint or f'share {args.shard} is done')
    return 1 if outcome.failed else 0


if __name__ == '__main__':
    sys.exit(main())
