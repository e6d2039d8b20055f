"""Makes segment proposals of images with the built-in generator (CPU, no learning).

    python tools/proposals/generate.py data/VOCdevkit/VOC2012/JPEGImages data/proposals/builtin --workers 8

One .npz an image, named after it. Start it again after an interruption: files that exist are kept.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.files import read_ids
from mmiam.utils.images import by_stem, list_images, read_image
from mmiam.utils.jobs import run_and_report, take_shard


class MakeFile:
    """Callable that makes one image's file; an object of the module, so that processes can receive it."""

    def __init__(self, generator: SelectiveMerging) -> None:
        self.generator = generator

    def __call__(self, source: Path, target: Path) -> None:
        self.generator(read_image(source)).save(target)


def list_jobs(images: Path, out: Path, ids: Path | None, recursive: bool) -> list[tuple[Path, Path]]:
    """Image and proposal file of each image, or of those that a list names, with or without suffix.

    Raises:
        FileNotFoundError: if the folder or a named image is missing, or the folder holds no image.
        ValueError: if two images differ in the suffix alone.
    """
    if images.is_file():
        return [(images, out / f'{images.stem}.npz')]
    names = list_images(images, recursive)
    if not names:
        raise FileNotFoundError(f'no image in {images}' + ('' if recursive else '; --recursive looks below it too'))
    if ids is not None:
        wanted = read_ids(ids)
        chosen = set(wanted)
        names = [name for name in names if name in chosen or Path(name).with_suffix('').as_posix() in chosen]
        missing = sorted(chosen - {form for name in names for form in (name, Path(name).with_suffix('').as_posix())})
        if missing:
            raise FileNotFoundError(f'{len(missing)} of {len(wanted)} images named in {ids} are not in {images}, the '
                                    f'first is {missing[0]!r}')
    return [(images / name, out / f'{stem}.npz') for stem, name in by_stem(names, images).items()]


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
        jobs = take_shard(list_jobs(args.images, args.out, args.ids, args.recursive), args.shard)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    make = MakeFile(SelectiveMerging(max_proposals=args.max_proposals))
    return run_and_report(make, jobs, args.workers, args.overwrite, 'generating', args.out)


if __name__ == '__main__':
    sys.exit(main())
