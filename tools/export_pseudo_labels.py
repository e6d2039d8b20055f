"""Writes the masks that a model gives a weakly labeled data set as COCO json, for other methods to train on.

    python tools/export_pseudo_labels.py CONFIG CHECKPOINT --out pseudo.json

Only classes among an image's labels are written, with the ids that images and categories have in COCO json tags. One
small file an image is kept in OUT.parts, so a killed run goes on where it was. Several processes share the work by
--shard; the last one puts the file together. An image that fails is listed in the file's info and tried again by the
next run; the exit status is 1 then.
"""
from __future__ import annotations

import os
import sys

from mmiam.apis import init_model
from mmiam.apis.options import device_name, given_config, make_parser, number, tool
from mmiam.apis.part_files import PartFiles
from mmiam.apis.pseudo_labels import LabeledImages, label_images, merge_parts, provenance
from mmiam.utils.jobs import take_shard


@tool
def main(argv=None) -> int:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options', '--shard')
    parser.add_argument('--out', required=True, metavar='FILE.json', help='COCO json to write')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train',
                        help='whose data loader names the images (default: train)')
    parser.add_argument('--min-score', type=number(0, 1), default=0., help='leave out masks below (default: 0)')
    parser.add_argument('--keep-best', action='store_true',
                        help='keep the best mask of an image label even if it is below --min-score')
    args = parser.parse_args(argv)
    if not os.path.isfile(args.checkpoint):
        raise FileNotFoundError(f'checkpoint {args.checkpoint} does not exist')
    cfg = given_config(args)
    images = LabeledImages(cfg, args.split)
    indices = take_shard(list(range(len(images))), args.shard)
    info = provenance(args.config, cfg, args.checkpoint, split=args.split, min_score=args.min_score,
                      keep_best=args.keep_best)
    parts = PartFiles(args.out + '.parts', info, images.keys())
    label_images(lambda: init_model(cfg, args.checkpoint, device_name(args.device), classes=images.classes), images,
                 parts, indices, args.min_score, args.keep_best)
    failed = parts.failures()
    for index, error in failed.items():
        print(f'failed: {images.names[index]}: {error}', file=sys.stderr)
    left = len(parts.missing())
    if left:
        print(f'{left} of {len(images)} images are left for other shards or for another start; {args.out} is written '
              'when all are there')
    else:
        content = merge_parts(parts, images, args.out)
        print(f'{args.out}: {len(content["annotations"])} masks on {len(content["images"])} images'
              + (f'; {len(failed)} failed, see its info' if failed else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
