"""Makes a checkpoint fit to hand on: ``python tools/model_converters/publish_model.py IN.pth OUT.pth``.

Leaves out optimizer, schedulers, logs and config; the first eight digits of the sha256 go into the name. Prints what
belongs into the metafile.
"""
from __future__ import annotations

import argparse
import sys

from mmiam.engine.publishing import publish


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='checkpoint of a run')
    parser.add_argument('target', help='name of the new file, *.pth; the hash is put before the suffix')
    parser.add_argument('--half', action='store_true', help='store the weights with 16 bits')
    parser.add_argument('--note', action='append', default=[], metavar='KEY=TEXT', help='goes into the metadata')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        if not args.target.endswith('.pth') or any('=' not in note for note in args.note):
            raise ValueError('the target must end with .pth, and --note look like KEY=TEXT')
        notes = dict(note.split('=', 1) for note in args.note)
        path, digest = publish(args.source, args.target, args.half, notes)
    except (OSError, ValueError, TypeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{path}\n  Metadata:\n    SHA256: {digest}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
