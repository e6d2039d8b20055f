"""Makes segment proposals of images with the built-in generator (CPU, no learning).

    python tools/proposals/generate.py data/VOCdevkit/VOC2012/JPEGImages data/proposals/builtin --workers 8

One .npz an image, named after it. Start it again after an interruption: files that exist are kept.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mmcv

from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.images import check_image_file
from mmiam.utils.jobs import list_images, report, run_jobs, take_shard


class MakeFile:
    """Callable that makes one image's file; an object of the module, so that processes can receive it."""

    def __init__(self, generator: SelectiveMerging) -> None:
        self.generator = generator

    def __call__(self, source: Path, target: Path) -> None:
        check_image_file(str(source))
        image = mmcv.imread(str(source), channel_order='rgb')
        if image is None:
            raise ValueError('not an image, or a broken one')
        self.generator(image).save(target)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', type=Path, help='folder of images')
    parser.add_argument('out', type=Path, help='folder for the .npz files')
    parser.add_argument('--ids', type=Path, help="text file of image names without suffix, as VOC's ImageSets")
    parser.add_argument('--recursive', action='store_true',
                        help='images of the folders below too; OUT gets the same folders')
    parser.add_argument('--workers', type=int, default=1, help='processes, one thread each')
    parser.add_argument('--shard', help="part of the images for this machine, as '0/4' .. '3/4'; 'auto': of this "
                        'process of torchrun, srun or mpirun')
    parser.add_argument('--max-proposals', type=int, default=SelectiveMerging.max_proposals)
    parser.add_argument('--overwrite', action='store_true', help='make files anew that exist')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        images = take_shard(list_images(args.images, args.ids, args.recursive), args.shard)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    top = args.images if args.images.is_dir() else args.images.parent
    jobs = [(image, args.out / image.relative_to(top).with_suffix('.npz')) for image in images]
    for folder in {target.parent for _, target in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    make = MakeFile(SelectiveMerging(max_proposals=args.max_proposals))
    failed = run_jobs(make, jobs, args.workers, args.overwrite, 'generating')
    return report(failed, len(jobs), args.out)


if __name__ == '__main__':
    sys.exit(main())
