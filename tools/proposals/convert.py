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

from mmiam.proposals.io import FORMATS, find_proposal_file, load_proposals
from mmiam.proposals.io.reading import SUFFIXES
from mmiam.utils.images import image_size
from mmiam.utils.jobs import IMAGE_SUFFIXES, read_ids, report, run_jobs, take_shard


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
            size = image_size(str(self.images[target.stem]))
        proposals = load_proposals(source, size, self.format)
        if self.max_proposals is not None:
            proposals = proposals.select(range(min(self.max_proposals, len(proposals))))
        proposals.save(target)


def list_sources(source: Path, ids: Path | None, format: str) -> list[Path]:
    """Proposal files in a folder, of one format or of all; a single file is a list of one.

    Raises:
        FileNotFoundError: if there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f'no file or folder {source}')
    if ids is not None:
        return [find_proposal_file(source, name) for name in read_ids(ids)]
    suffixes = SUFFIXES if format == 'auto' else (f'.{format}', )
    found = [p for p in sorted(source.iterdir()) if p.is_file() and p.suffix.lower() in suffixes]
    if format in ('auto', 'folder'):
        found += [p for p in sorted(source.iterdir()) if p.is_dir()]
    if not found:
        raise FileNotFoundError(f'no proposal file ({", ".join(suffixes)}) and no folder of masks in {source}')
    return found


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, metavar='IN', help='folder with one file or folder of masks an image')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the .npz files')
    parser.add_argument('--format', choices=FORMATS, default='auto', help='kind of file; auto goes by suffix')
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
        sources = take_shard(list_sources(args.source, args.ids, args.format), args.shard)
        images = None
        if args.images is not None:
            images = {p.stem: p for p in args.images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.source.resolve() == args.out.resolve():
        print('IN and OUT must differ', file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [(source, args.out / f'{source.stem if source.is_file() else source.name}.npz') for source in sources]
    convert = ConvertFile(args.format, images, args.max_proposals)
    failed = run_jobs(convert, jobs, args.workers, args.overwrite, 'converting')
    return report(failed, len(jobs), args.out)


if __name__ == '__main__':
    sys.exit(main())
