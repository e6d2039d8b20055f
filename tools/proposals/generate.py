"""Makes segment proposals of images with the built-in generator (CPU, no learning).

    python tools/proposals/generate.py data/VOCdevkit/VOC2012/JPEGImages data/proposals/builtin --workers 8

One .npz an image, named after it. Start it again after an interruption: files that exist are kept.
"""
from __future__ import annotations

import sys
from pathlib import Path

from mmiam.apis.options import make_parser, number, tool
from mmiam.proposals.generators import SelectiveMerging
from mmiam.utils.files import read_ids
from mmiam.utils.images import by_stem, list_images
from mmiam.utils.jobs import run_and_report, take_shard


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
        wanted = set(read_ids(ids))
        forms = {name: {name, Path(name).with_suffix('').as_posix()} for name in names}
        names = [name for name in names if forms[name] & wanted]
        missing = sorted(wanted.difference(*(forms[name] for name in names)))
        if missing:
            raise FileNotFoundError(f'{len(missing)} of {len(wanted)} images named in {ids} are not in {images}, the '
                                    f'first is {missing[0]!r}')
    return [(images / name, out / f'{stem}.npz') for stem, name in by_stem(names, images).items()]


@tool
def main(argv=None) -> int:
    parser = make_parser(__doc__, '--workers', '--shard', '--overwrite')
    parser.add_argument('images', type=Path, help='folder of images')
    parser.add_argument('out', type=Path, help='folder for the .npz files')
    parser.add_argument('--ids', type=Path, help="text file of image names without suffix, as VOC's ImageSets")
    parser.add_argument('--recursive', action='store_true',
                        help='images of the folders below too; OUT gets the same folders')
    parser.add_argument('--max-proposals', type=number(1, kind=int), default=SelectiveMerging.max_proposals)
    args = parser.parse_args(argv)
    jobs = take_shard(list_jobs(args.images, args.out, args.ids, args.recursive), args.shard)
    generator = SelectiveMerging(max_proposals=args.max_proposals)
    return run_and_report(generator.write, jobs, args.workers, args.overwrite, 'generating', args.out)


if __name__ == '__main__':
    sys.exit(main())
