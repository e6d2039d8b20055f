"""This project's saliency figures beside those of the field's standard toolbox, in an environment of its own.

    python -m venv sod-env && sod-env/bin/pip install pysodmetrics
    sod-env/bin/python tools/analysis_tools/compare_saliency_metric.py --random 200
    sod-env/bin/python tools/analysis_tools/compare_saliency_metric.py --maps MAPS --masks MASKS

The first form compares on random maps and masks, of awkward kinds too (constant maps, empty and full masks, few gray
levels). The second one reads maps (``save_dir`` of SaliencyMetric) and masks of the same names; masks are foreground
above 128. Figures are printed and the exit status is 1 if any differs by more than ``--tolerance``.

Only NumPy, Pillow and the toolbox are imported: mmiam/evaluation/functional/saliency.py is loaded from its file.
"""
from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2] / 'mmiam/evaluation/functional'))
import saliency as own  # noqa: E402  (the module of the figures, without its package)


def random_cases(number: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps in [0, 1], float64 (H, W), with masks, bool; every fifth of each awkward kind."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        size = rng.integers(1, 60, 2)
        saliency, mask = rng.random(size) ** rng.uniform(.3, 4), rng.random(size) < rng.random()
        kind = index % 10
        if kind == 1:
            saliency = np.round(saliency * 255) / 255
        elif kind == 2:
            saliency = np.full(size, rng.choice([0., .4, 1.]))
        elif kind == 3:
            mask[:] = rng.random() < .5
        elif kind == 4:
            saliency = np.round(saliency * 3) / 3
        elif kind == 5:
            saliency = np.clip(mask + rng.normal(0, .3, size), 0, 1)
        yield saliency, mask


def file_cases(maps: Path, masks: Path, index_masks: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps (PNG, gray) with the masks of the same names.

    Raises:
        FileNotFoundError: naming the folder without maps, or the mask that is missing.
    """
    paths = sorted(maps.rglob('*.png'))
    if not paths:
        raise FileNotFoundError(f'no *.png in {maps}; have SaliencyMetric write them (save_dir)')
    for path in paths:
        mask = masks / path.relative_to(maps)
        if not mask.is_file():
            raise FileNotFoundError(f'{mask} does not exist (mask of {path})')
        with Image.open(path) as saliency, Image.open(mask) as truth:
            gray = np.array(truth if index_masks else truth.convert('L'))
            yield np.array(saliency.convert('L')) / 255, (gray % 255 != 0) if index_masks else gray > 128


def compare(cases: Iterator[tuple[np.ndarray, np.ndarray]], toolbox) -> tuple[dict, dict, float, int]:
    """Figures of both, the largest difference over images and thresholds, and the number of images."""
    fm, mae = toolbox.Fmeasure(), toolbox.MAE()
    images, largest = [], 0.
    for saliency, mask in cases:
        stretched = own.min_max(saliency)
        fm.step(pred=stretched, gt=mask, normalize=False)
        mae.step(pred=stretched, gt=mask, normalize=False)
        images.append(own.image_saliency(saliency, mask))
        last = images[-1]
        largest = max(largest, np.abs(last.curve - fm.changeable_fms[-1]).max(),
                      abs(last.adaptive - fm.adaptive_fms[-1]), abs(last.mae - mae.maes[-1]))
    theirs = fm.get_results()['fm']
    theirs = dict(F_mean=float(theirs['curve'].mean()), F_adaptive=float(theirs['adp']),
                  F_max=float(theirs['curve'].max()), MAE=float(mae.get_results()['mae']))
    return own.saliency_scores(images).metrics(), theirs, float(largest), len(images)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--random', type=int, default=0, metavar='N', help='random cases')
    parser.add_argument('--maps', type=Path, help='folder of maps')
    parser.add_argument('--masks', type=Path, help='folder of masks')
    parser.add_argument('--index-masks', action='store_true', help="masks hold indices (VOC's SegmentationObject): "
                        'foreground is every one but 0 and 255')
    parser.add_argument('--tolerance', type=float, default=1e-9)
    args = parser.parse_args(argv)
    if not args.random and (args.maps is None or args.masks is None):
        parser.error('give --random N, or --maps and --masks')
    try:
        warnings.filterwarnings('ignore', message='This class will be removed')
        import py_sod_metrics
    except ImportError:
        print('the comparison needs the toolbox: pip install pysodmetrics, in an environment of its own',
              file=sys.stderr)
        return 2
    try:
        cases = (random_cases(args.random) if args.random else
                 file_cases(args.maps, args.masks, args.index_masks))
        ours, theirs, largest, number = compare(cases, py_sod_metrics)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f'{number} images, beside {py_sod_metrics.__name__}')
    for name, value in ours.items():
        print(f'{name:10s} ours {value:.10f}  toolbox {theirs[name]:.10f}  difference {abs(value - theirs[name]):.1e}')
    print(f'largest difference of any image at any threshold: {largest:.1e}')
    return int(not largest <= args.tolerance)


if __name__ == '__main__':
    sys.exit(main())
