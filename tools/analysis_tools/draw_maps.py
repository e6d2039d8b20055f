"""Draw image, CAM, PRM, IAM, predicted masks and ground truth of some test images on one sheet.

    python tools/analysis_tools/draw_maps.py CONFIG CHECKPOINT --out sheet.png --num 12
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import mmcv
import numpy as np
from mmdet.apis import inference_detector
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from rich.progress import track

from mmiam.apis import init_model
from mmiam.apis.options import given_config, model_parser
from mmiam.utils.rle import decode_masks
from mmiam.visualization import COLUMNS, draw_predicted, overlay_instances, write_sheet


def draw_row(image: np.ndarray, sample: DetDataSample, truth: dict, classes: Sequence[str]) -> list[np.ndarray]:
    """The tiles of an image: :data:`COLUMNS` and the ground truth.

    Args:
        image (ndarray): RGB, uint8, has shape (H, W, 3).
        sample (DetDataSample): with ``cams``, ``prms``, ``iams`` in its predictions (test_cfg.return_maps).
        truth (dict): sample of the data set's pipeline: ``instances``.
        classes (Sequence[str]): class names.
    """
    instances = truth.get('instances', [])
    true_masks = decode_masks([instance['mask'] for instance in instances], image.shape[:2])
    true_names = [classes[instance['bbox_label']] for instance in instances]
    tiles = draw_predicted(image, sample.cpu().pred_instances, classes)
    return [*(tiles[name] for name in COLUMNS), overlay_instances(image, true_masks, true_names)]


def draw_sheet(config: Config, checkpoint: str, out: str, ids: Sequence[str] = (), num: int = 12,
               device: str | None = None) -> None:
    """Draw ``num`` images of the test data set, evenly spread, or those of the given ids."""
    config.merge_from_dict({'model.test_cfg.return_maps': True})
    config.model.test_cfg.pop('baselines', None)
    model = init_model(config, checkpoint, device)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    entries = [dataset.get_data_info(i) for i in range(len(dataset))]
    if ids:
        chosen = [i for i, entry in enumerate(entries) if entry['img_id'] in set(ids)]
    else:
        chosen = np.unique(np.linspace(0, len(entries) - 1, min(num, len(entries))).round().astype(int))
    rows, captions = [], []
    for i in track(chosen, 'drawing', transient=True):
        path = entries[i]['img_path']
        truth = dataset[i]['data_samples'].metainfo
        rows.append(draw_row(mmcv.imread(path, channel_order='rgb'), inference_detector(model, path), truth,
                             dataset.metainfo['classes']))
        captions.append(entries[i]['img_id'])
    write_sheet(rows, (*COLUMNS, 'ground truth'), out, captions)


def parse_args(argv=None) -> argparse.Namespace:
    parser = model_parser(__doc__)
    parser.add_argument('--out', default='sheet.png', help='PNG to write')
    parser.add_argument('--ids', nargs='*', default=(), help='image ids; default: evenly spread over the test set')
    parser.add_argument('--num', type=int, default=12, help='number of images')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    config = given_config(args)
    draw_sheet(config, args.checkpoint, args.out, args.ids, args.num, args.device)
    print(args.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
