"""Make the critters data set: animals whose class shows on the head alone, in PASCAL VOC's layout.

Example:
    python tools/misc/make_critters.py data/critters --workers 2
"""
from __future__ import annotations

import argparse
import os
import sys

from critters import write_dataset


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Make the critters data set in PASCAL VOC\'s layout.')
    parser.add_argument('out', help='folder to fill; a killed run is continued')
    parser.add_argument('--num-train', type=int, default=600, help='training images (default: 600)')
    parser.add_argument('--num-val', type=int, default=120, help='validation images (default: 120)')
    parser.add_argument('--size', type=int, default=128, help='side of the images in pixels (default: 128)')
    parser.add_argument('--seed', type=int, default=0, help='the files follow from it (default: 0)')
    parser.add_argument('--workers', type=int, default=min(os.cpu_count() or 1, 8), help='processes')
    parser.add_argument('--void-border', action='store_true', help='mark a 1-pixel border as void (255)')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)

    def report(done, total):
        if done == total or done % 20 == 0:
            print(f'\rcritters: {done}/{total}', end='' if done < total else '\n', file=sys.stderr, flush=True)

    try:
        write_dataset(args.out, args.num_train, args.num_val, args.size, args.seed, args.workers,
                      args.void_border, report)
    except (ValueError, FileExistsError) as error:
        sys.exit(f'make_critters: {error}')
    print(args.out)


if __name__ == '__main__':
    main()
