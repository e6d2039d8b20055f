"""Measures what a user waits for at a click: the image once, then each point prompt.

    python tools/analysis_tools/benchmark_prompts.py CONFIG CHECKPOINT --images DIR --num 6 --json prompts.json

Opening an image is reading, resizing and the pass of the backbone; a click is the rest, from the point to its mask at
original size (one filling pass and the post-processor, no back-propagation). Clicks fall on the centres of a grid of
3 x 3 cells. The first image is gone through once before, as warm-up.
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import mmcv
import torch
from mmengine.config import Config, DictAction

from mmiam.apis import PromptSession, image_files, init_model
from mmiam.utils.files import atomic_write


def timed(function, *args):
    """Result and seconds of a call."""
    start = time.perf_counter()
    result = function(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def measure(model: torch.nn.Module, path: str, grid: int = 3) -> dict:
    """Seconds of opening an image and of each of grid x grid clicks, and how many of these gave a mask."""
    session, opening = timed(PromptSession, model, path)
    height, width = mmcv.imread(path).shape[:2]
    points = [((column + .5) * width / grid, (row + .5) * height / grid)
              for row in range(grid) for column in range(grid)]
    answers = [timed(session, [dict(point=point)]) for point in points]
    return dict(path=path, size=[height, width], opening=opening, clicks=[seconds for _, seconds in answers],
                masks=sum(len(found) for found, _ in answers))


def summary(images: list[dict]) -> dict:
    """Milliseconds: medians over images of the opening, over all clicks of a click, and the slowest click."""
    clicks = [seconds for image in images for seconds in image['clicks']]
    return dict(opening_ms=1e3 * median(image['opening'] for image in images), click_ms=1e3 * median(clicks),
                slowest_click_ms=1e3 * max(clicks), clicks=len(clicks), masks=sum(image['masks'] for image in images))


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--images', required=True, help='image, folder of images, or text file of paths')
    parser.add_argument('--num', type=int, default=6, help='images, evenly spread')
    parser.add_argument('--json', type=Path, help='file for the figures')
    parser.add_argument('--threads', type=int, help='of torch; default: its own choice')
    parser.add_argument('--device')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        config = Config.fromfile(args.config)
        if args.cfg_options:
            config.merge_from_dict(args.cfg_options)
        paths = image_files(args.images)
        step = max(len(paths) / max(args.num, 1), 1)
        paths = [paths[int(i * step)] for i in range(min(args.num, len(paths)))]
        model = init_model(config, args.checkpoint, args.device)
        measure(model, paths[0])
        images = [measure(model, path) for path in paths]
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    result = dict(summary(images), threads=torch.get_num_threads(), device=str(next(model.parameters()).device),
                  images=images)
    if args.json:
        atomic_write(args.json, json.dumps(result, indent=1).encode())
    print(f'{len(images)} images, {result["device"]}, {result["threads"]} threads: opening '
          f'{result["opening_ms"]:.0f} ms, a click {result["click_ms"]:.0f} ms (slowest of {result["clicks"]} '
          f'{result["slowest_click_ms"]:.0f} ms)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
