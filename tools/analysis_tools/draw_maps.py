"""Draw image, CAM, PRM, IAM, predicted masks and ground truth of some test images on one sheet.

    python tools/analysis_tools/draw_maps.py CONFIG CHECKPOINT --out sheet.png --num 12
"""
from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from image_samples import build_dataset, evenly_spread, read_truth
from mmdet.apis import inference_detector
from mmengine.config import Config
from rich.progress import track

from mmiam.apis import init_model
from mmiam.apis.options import given_config, make_parser, number, tool
from mmiam.utils.images import read_image
from mmiam.visualization import COLUMNS, draw_predicted, overlay_instances, write_sheet


def draw_sheet(config: Config, checkpoint: str, out: str, ids: Sequence[str] = (), num: int = 12,
               device: str | None = None) -> None:
    """Draw ``num`` images of the test data set, evenly spread, or those of the given ids."""
    config.merge_from_dict({'model.test_cfg.return_maps': True})
    config.model.test_cfg.pop('baselines', None)
    dataset = build_dataset(config.test_dataloader.dataset)
    classes = dataset.metainfo['classes']
    model = init_model(config, checkpoint, device, classes=classes)
    entries = [dataset.get_data_info(i) for i in range(len(dataset))]
    named = [i for i, entry in enumerate(entries) if entry['img_id'] in ids]
    chosen, rows = named if ids else evenly_spread(len(entries), num), []
    for i in track(chosen, 'drawing', transient=True):
        path = entries[i]['img_path']
        image, sample = read_image(path), dataset[i]['data_samples']
        masks, labels = read_truth(sample)[:2] if 'instances' in sample else (np.zeros((0, *image.shape[:2])), ())
        tiles = draw_predicted(image, inference_detector(model, path).cpu().pred_instances, classes)
        rows.append([*(tiles[name] for name in COLUMNS),
                     overlay_instances(image, masks, [classes[label] for label in labels])])
    write_sheet(rows, (*COLUMNS, 'ground truth'), out, [entries[i]['img_id'] for i in chosen])


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options')
    parser.add_argument('--out', default='sheet.png', help='PNG to write')
    parser.add_argument('--ids', nargs='*', default=(), help='image ids; default: evenly spread over the test set')
    parser.add_argument('--num', type=number(1, kind=int), default=12, help='number of images')
    args = parser.parse_args(argv)
    draw_sheet(given_config(args), args.checkpoint, args.out, args.ids, args.num, args.device)
    print(args.out)


if __name__ == '__main__':
    sys.exit(main())
