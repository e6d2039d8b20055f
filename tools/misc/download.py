"""Fetches the published weights of a model: ``python tools/misc/download.py NAME [--out DIR]``.

Names are those of the metafiles (``--list`` shows them). The sha256 is checked; an interrupted transfer goes on
where it stopped; without ``--out`` the file is kept in a cache folder ($MMIAM_CACHE, else ~/.cache/mmiam).
"""
from __future__ import annotations

import argparse
import os
import sys

from mmiam.engine.model_zoo import fetch_weights, load_models
from mmiam.engine.safe_loading import check_checkpoint


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='?', help='name of a model')
    parser.add_argument('--out', help='folder for the file; default: the cache folder')
    parser.add_argument('--index', help="another model-index.yml than the project's own")
    parser.add_argument('--list', action='store_true', help='show the models, and which have weights')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        if args.list or not args.name:
            for name, model in load_models(args.index).items():
                print(f"{name:40} {model.get('Weights') or 'no weights published'}")
            return 0 if args.list else 2
        path = fetch_weights(args.name, args.out, args.index)
        try:
            check_checkpoint(path)
        except ValueError:
            os.unlink(path)
            raise
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
