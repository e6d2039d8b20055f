"""Converts segment proposals of other sources to the project's own files, one .npz an image.

    python tools/proposals/convert.py data/MCG-SegVOC12 data/proposals/mcg --images data/VOCdevkit/VOC2012/JPEGImages

Read are COB's and MCG's .mat, CIM's maskmat .mat, the PRM demo's JSON, COCO RLE JSON, Segment Anything's JSON,
folders of mask images and .npz of masks. With --images every file is checked against its image's size. Start it
again after an interruption: files that exist are kept.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmiam.proposals.io import READERS, find_proposal_file, known_suffixes, load_proposals
from mmiam.utils.files import read_ids
from mmiam.utils.images import by_stem, image_size, list_images
from mmiam.utils.jobs import run_and_report, take_shard


class ConvertFile:
    """Callable that converts one image's proposals; an object of the module, so that processes can receive it."""

    def __init__(self, format: str, images: dict[str, Path] | None, max_proposals: int | None) -> None:
        self.format = format
        self.images = images
        self.max_proposals = max_proposals

    def __call__(self, source: Path, target: Path) -> None:
        size = None
        if self.images is not None:
            if target.stem not in self.images:
                raise ValueError(f'no image named {target.stem}')
            size = image_size(self.images[target.stem])
        proposals = load_proposals(source, size, self.format)
        if self.max_proposals is not None:
            proposals = proposals.select(range(min(self.max_proposals, len(proposals))))
        proposals.save(target)


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


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, metavar='IN', help='folder with one file or folder of masks an image')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the .npz files')
    parser.add_argument('--format', choices=('auto', *READERS), default='auto', help='auto goes by suffix')
    parser.add_argument('--images', type=Path, help='folder of the images, to check sizes against')
    parser.add_argument('--ids', type=Path, help="text file of image names without suffix, as VOC's ImageSets")
    parser.add_argument('--max-proposals', type=int, help='keep the first ones only')
    parser.add_argument('--workers', type=int, default=1, help='processes, one thread each')
    parser.add_argument('--shard', help="part of the files for this machine, as '0/4' .. '3/4'")
    parser.add_argument('--overwrite', action='store_true', help='make files anew that exist')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        jobs = take_shard(list_jobs(args.source, args.out, args.ids, args.format), args.shard)
        images = None
        if args.images is not None:
            images = {stem: args.images / name for stem, name in by_stem(list_images(args.images), args.images).items()}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.source.resolve() == args.out.resolve():
        print('IN and OUT must differ', file=sys.stderr)
        return 2
    convert = ConvertFile(args.format, images, args.max_proposals)
    return run_and_report(convert, jobs, args.workers, args.overwrite, 'converting', args.out)


if __name__ == '__main__':
    sys.exit(main())
