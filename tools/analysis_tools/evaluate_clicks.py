"""How good are masks at clicks: one click at a random point of each annotated object, IoU of its mask.

    python tools/analysis_tools/evaluate_clicks.py CONFIG CHECKPOINT --split val --json clicks.json

Objects smaller than ``--min-area`` of the image are left out; void pixels count nowhere. The same seed clicks on the
same pixels, so that models can be compared.
"""
from __future__ import annotations

import sys

import numpy as np
from image_samples import build_dataset, mask_iou, read_truth

from mmiam.apis import PromptSession, init_model
from mmiam.apis.options import given_config, make_parser, number, tool
from mmiam.utils.files import write_json
from mmiam.utils.jobs import with_bar


def click_ious(session: PromptSession, masks: np.ndarray, void: np.ndarray | None, rng: np.random.Generator
               ) -> list[float]:
    """IoU of the answer to one click on each mask: bool (n, H, W), void bool (H, W) -> n values in [0, 1]."""
    ious = []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        chosen = rng.integers(len(ys))
        answer = session([dict(point=(float(xs[chosen]) + 0.5, float(ys[chosen]) + 0.5))]).masks
        ious.append(float(mask_iou(mask, answer[:1].cpu().numpy(), void).max(initial=0)))
    return ious


def summarize(ious: list[float]) -> dict:
    """Number of clicks, mean IoU and share at 0.5 or more, in percent."""
    values = np.array(ious)
    return dict(clicks=len(ious), mean_iou=100 * float(values.mean()), share_at_50=100 * float((values >= 0.5).mean()))


@tool
def main(argv=None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--device', '--cfg-options', '--seed', '--json')
    parser.add_argument('--split', help="name of a list of the data set, e.g. 'val'; default: that of the config")
    parser.add_argument('--min-area', type=number(0, 1), default=0.02, help='least share of the image (default: 0.02)')
    args = parser.parse_args(argv)
    config = given_config(args)
    given = dict(config.test_dataloader.dataset)
    if args.split:
        given['ann_file'] = f'ImageSets/Segmentation/{args.split}.txt'
    dataset = build_dataset(given)
    model = init_model(config, args.checkpoint, args.device)
    rng, ious = np.random.default_rng(args.seed), []
    for index in with_bar(range(len(dataset)), len(dataset), 'clicking'):
        sample = dataset[index]['data_samples']
        masks, _, void = read_truth(sample)
        masks = masks[masks.mean((1, 2)) >= args.min_area]
        if len(masks):
            ious += click_ious(PromptSession(model, sample.img_path), masks, void, rng)
    if not ious:
        raise ValueError(f'{given["ann_file"]}: no object takes {args.min_area} of its image; lower --min-area')
    result = summarize(ious)
    print(f'{result["clicks"]} clicks: mean IoU {result["mean_iou"]:.1f} %, '
          f'{result["share_at_50"]:.1f} % at 0.5 or more')
    if args.json:
        write_json(args.json, dict(result, ious=ious, seed=args.seed, min_area=args.min_area))


if __name__ == '__main__':
    sys.exit(main())
