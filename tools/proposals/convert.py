"""Converts segment proposals of other sources to the project's own files, one .npz an image.

    python tools/proposals/convert.py data/MCG-SegVOC12 data/proposals/mcg --images data/VOCdevkit/VOC2012/JPEGImages

Read are COB's and MCG's .mat, CIM's maskmat .mat, the PRM demo's JSON, COCO RLE JSON, Segment Anything's JSON,
folders of mask images and .npz of masks. With --images every file is checked against its image's size. Start it
again after an interruption: files that exist are kept.
"""
from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from mmiam.apis.options import make_parser, number, tool
from mmiam.proposals.io import READERS, find_proposal_file, known_suffixes, load_proposals
from mmiam.utils.files import read_ids
from mmiam.utils.images import by_stem, image_size, list_images
from mmiam.utils.jobs import run_and_report, take_shard


def convert_file(source: Path, target: Path, format: str, images: dict[str, Path] | None,
                 max_proposals: int | None) -> None:
    """Convert one image's proposals; ``images``, by stem, are those whose size they must have."""
    if images is not None and target.stem not in images:
        raise ValueError(f'no image named {target.stem}')
    size = None if images is None else image_size(images[target.stem])
    load_proposals(source, size, format).first(max_proposals).save(target)


def list_jobs(source: Path, out: Path, ids: Path | None, format: str) -> list[tuple[Path, Path]]:
    """Source and target of the proposals in a folder, of one format or of all; of a single file, one pair.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if an image has two.
    """
    suffixes = known_suffixes() if format == 'auto' else [f'.{format}']
    if source.is_file():
        found = [source]
    elif not source.is_dir():
        raise FileNotFoundError(f'no file or folder {source}')
    elif ids is not None:
        found = [find_proposal_file(source, name) for name in read_ids(ids)]
    else:
        found = [p for p in sorted(source.iterdir()) if p.is_file() and p.suffix.lower() in suffixes
                 or p.is_dir() and format in ('auto', 'folder')]
    if not found:
        raise FileNotFoundError(f'no proposal file ({", ".join(suffixes)}) and no folder of masks in {source}')
    targets: dict[Path, Path] = {}
    for path in found:
        target = out / f'{path.stem if path.is_file() else path.name}.npz'
        if target in targets:
            raise ValueError(f'{targets[target]} and {path} would both become {target}; move one, or name its --format')
        targets[target] = path
    return [(path, target) for target, path in targets.items()]


@tool
def main(argv=None) -> int:
    parser = make_parser(__doc__, '--workers', '--shard', '--overwrite')
    parser.add_argument('source', type=Path, metavar='IN', help='folder with one file or folder of masks an image')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the .npz files')
    parser.add_argument('--format', choices=('auto', *READERS), default='auto', help='auto goes by suffix')
    parser.add_argument('--images', type=Path, help='folder of the images, to check sizes against')
    parser.add_argument('--ids', type=Path, help="text file of image names without suffix, as VOC's ImageSets")
    parser.add_argument('--max-proposals', type=number(1, kind=int), help='keep the first ones only')
    args = parser.parse_args(argv)
    if args.source.resolve() == args.out.resolve():
        raise ValueError('IN and OUT must differ')
    jobs, images = take_shard(list_jobs(args.source, args.out, args.ids, args.format), args.shard), None
    if args.images is not None:
        images = {stem: args.images / name for stem, name in by_stem(list_images(args.images), args.images).items()}
    convert = partial(convert_file, format=args.format, images=images, max_proposals=args.max_proposals)
    return run_and_report(convert, jobs, args.workers, args.overwrite, 'converting', args.out)


if __name__ == '__main__':
    sys.exit(main())
