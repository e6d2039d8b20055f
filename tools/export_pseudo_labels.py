"""Writes the masks that a model gives a weakly labelled data set as COCO json, for other methods to train on.

    python tools/export_pseudo_labels.py CONFIG CHECKPOINT --out pseudo.json

Only classes among an image's labels are written. One small file an image is kept in OUT.parts, so a killed run goes
on where it was. Several processes share the work by torchrun, srun or --shard; the last one puts the file together.
"""
from __future__ import annotations

import argparse
import os
import sys

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
from mmiam.apis import init_model
from mmiam.apis.options import device_name, given_config, model_parser
from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import label_images, labelled_dataset, merge_parts, provenance, shard_of_launcher
from mmiam.utils.jobs import take_shard, with_bar


def parse_args(argv=None) -> argparse.Namespace:
    parser = model_parser(__doc__)
    parser.add_argument('--out', required=True, metavar='FILE.json', help='COCO json to write')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train',
                        help='whose data loader names the images (default: train)')
    parser.add_argument('--min-score', type=float, default=0., help='leave out masks below (default: 0)')
    parser.add_argument('--keep-best', action='store_true',
                        help='keep the best mask of an image label even if it is below --min-score')
    parser.add_argument('--shard', help="part of the images for this process, as '0/4' .. '3/4'")
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='take the part from the rank')
    return parser.parse_args(argv)


def export(args: argparse.Namespace) -> int:
    """Label this process's images; put the file together if nothing is left to do."""
    if not os.path.isfile(args.checkpoint):
        raise FileNotFoundError(f'checkpoint {args.checkpoint} does not exist')
    cfg = given_config(args)
    dataset = labelled_dataset(cfg, args.split)
    shard = args.shard or shard_of_launcher(args.launcher)
    indices = take_shard(list(range(len(dataset))), shard)
    info = provenance(args.config, cfg, args.checkpoint, [dataset.image_name(i) for i in range(len(dataset))],
                      split=args.split, min_score=args.min_score, keep_best=args.keep_best)
    parts = PartFiles(args.out + '.parts', info, len(dataset))
    open_indices = [index for index in indices if not parts.has(index)]
    print(f'{len(indices) - len(open_indices)} of {len(indices)} images are labelled already')
    failed = {}
    if open_indices:
        model = init_model(cfg, args.checkpoint, device_name(args.device))
        if len(model.dataset_meta['classes']) != len(dataset.metainfo['classes']):
            raise ValueError(f'{args.checkpoint} knows the classes {model.dataset_meta["classes"]}, the data set '
                             f'{dataset.metainfo["classes"]}; give the data set those of the training')
        failed = label_images(model, dataset, parts, with_bar(open_indices, len(open_indices), 'labelling'),
                              args.min_score, args.keep_best)
    for name, error in failed.items():
        print(f'failed: {name}: {error}', file=sys.stderr)
    left = len(parts.missing())
    if left:
        print(f'{left} of {len(dataset)} images are left for other shards or for another start; {args.out} is written '
              'when all are there')
    else:
        content = merge_parts(parts, dataset.metainfo['classes'], args.out)
        print(f'{args.out}: {len(content["annotations"])} masks on {len(content["images"])} images')
    return 1 if failed else 0


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        return export(args)
    except (OSError, ValueError, KeyError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
