"""Makes the cues of the training images, and the proposals that match them, ahead of the filling stage.

    python tools/mine_cues.py CONFIG CHECKPOINT

They are kept in WORK_DIR/cue_cache, where a training of the filling module with these weights and the same work dir
finds them. What is there is kept, so a killed run goes on where it was. Several processes or machines share the images
by --shard; they need not talk to each other.
"""
from __future__ import annotations

import sys

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
from mmiam.apis.options import device_name, given_config, make_parser, tool
from mmiam.engine import check_config_files
from mmiam.engine.cue_mining import load_classifier_model, mine, open_cue_cache, training_views
from mmiam.utils.jobs import shard_index, take_shard, with_bar


@tool
def main(argv=None) -> int:
    args = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options', '--work-dir', '--shard'
                       ).parse_args(argv)
    cfg = given_config(args)
    cfg.model.backbone.init_cfg = None  # the checkpoint has the weights
    hooks = [hook for hook in cfg.get('custom_hooks', []) if hook['type'] == 'TrainingStageHook']
    if not hooks or not hooks[0].get('cache_cues', True):
        raise ValueError(f'{args.config} keeps no cues; it needs TrainingStageHook with cache_cues=True')
    check_config_files(cfg, training=True)
    views = list(training_views(cfg))
    model = load_classifier_model(cfg, args.checkpoint, device_name(args.device), views[0].metainfo['classes'])
    model.cue_cache = open_cue_cache(model, cfg, cfg.work_dir, hooks[0].get('cache_gb', 20.),
                                     shard_index(args.shard)[1])
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


if __name__ == '__main__':
    sys.exit(main())
