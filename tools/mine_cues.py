"""Makes the cues of the training images, and the proposals that match them, ahead of the filling stage.

    python tools/mine_cues.py CONFIG CHECKPOINT

They are kept in WORK_DIR/cue_cache, where a training of the filling module with these weights and the same work dir
finds them. What is there is kept, so a killed run goes on where it was. Several processes or machines share the images
by --shard; they need not talk to each other.
"""
from __future__ import annotations

import argparse
import os.path as osp
import sys

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
from mmiam.apis.options import device_name, given_config, model_parser, run_tool
from mmiam.engine import check_config_files
from mmiam.engine.cue_mining import load_classifier_model, mine, open_cue_cache, training_views
from mmiam.utils.jobs import shard_index, take_shard, with_bar


def parse_args(argv=None) -> argparse.Namespace:
    parser = model_parser(__doc__)
    parser.add_argument('--work-dir', help='folder of the training run (default: work_dirs/<config name>)')
    parser.add_argument('--shard', help="part of the images for this process, as '0/4' .. '3/4'; 'auto': of this "
                        'process under torchrun, srun, a Slurm array or mpirun')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Mine this process's images."""
    cfg = given_config(args)
    cfg.model.backbone.init_cfg = None  # the checkpoint has the weights
    hooks = [hook for hook in cfg.get('custom_hooks', []) if hook['type'] == 'TrainingStageHook']
    if not hooks or not hooks[0].get('cache_cues', True):
        raise ValueError(f'{args.config} keeps no cues; it needs TrainingStageHook with cache_cues=True')
    check_config_files(cfg, training=True)
    work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    views = list(training_views(cfg))
    model = load_classifier_model(cfg, args.checkpoint, device_name(args.device), views[0].metainfo['classes'])
    model.cue_cache = open_cue_cache(model, cfg, work_dir, hooks[0].get('cache_gb', 20.), shard_index(args.shard)[1])
    total, kept, failed = 0, 0, {}
    for number, view in enumerate(views, 1):
        indices = take_shard(list(range(len(view))), args.shard)
        total += len(indices)
        there, errors = mine(model, view, with_bar(indices, len(indices), f'view {number} of {len(views)}'),
                             cfg.train_dataloader.get('num_workers', 0))
        kept += there
        failed |= errors
    for path, error in failed.items():
        print(f'failed: {path}: {error}', file=sys.stderr)
    print(f'{total} views, {kept} of them were there already; {model.cue_cache.folder}')
    return 1 if failed else 0


def main(argv=None) -> int:
    args = parse_args(argv)
    return run_tool(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
