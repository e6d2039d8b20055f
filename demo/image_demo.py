"""Predict instance masks for images: ``python demo/image_demo.py IMAGE CONFIG --weights CKPT --out-dir DIR``."""
from __future__ import annotations

import argparse
import os.path as osp
import sys

import mmiam  # noqa: F401  (first, because it registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import mmcv
from mmdet.registry import VISUALIZERS
from rich.progress import track

from mmiam import zoo
from mmiam.apis import CocoResults, find_images, init_model, predict_files
from mmiam.apis.inference import output_names
from mmiam.apis.options import add_options, counted, number, tool


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='an image, a folder of images (with all below), or a text file of paths')
    add_options(parser, 'config', '--device', '--cfg-options')
    parser.add_argument('--weights', help='checkpoint (default: the published weights of the config)')
    parser.add_argument('--random', action='store_true', help='without weights: random ones, and masks of no meaning')
    parser.add_argument('--out-dir', default='outputs', help='folder for overlays (vis/) and predictions.json')
    parser.add_argument('--min-score', type=number(0, 1), default=0.05, help='least score that is drawn and written')
    return parser


@tool
def main(argv: list[str] | None = None) -> int:
    """Predict images; return exit status 1 if one is left out, for a reason that a warning gives."""
    args = make_parser().parse_args(argv)
    paths = find_images(args.image)
    weights = args.weights or (None if args.random else zoo.weights_of_config(args.config))
    model = init_model(args.config, weights, args.device, args.cfg_options)
    visualizer = VISUALIZERS.build(dict(type='DetLocalVisualizer', name='image_demo'))
    visualizer.dataset_meta = model.dataset_meta
    results, names = CocoResults(model.dataset_meta['classes']), dict(zip(paths, output_names(paths)))
    for path, sample in track(predict_files(model, paths), 'images', total=len(paths)):
        if sample is None:
            continue
        found = sample.pred_instances
        results.add(path, sample.ori_shape, found[found.scores >= args.min_score])
        visualizer.add_datasample(
            names[path], mmcv.imread(path, channel_order='rgb'), sample.cpu(), draw_gt=False,
            pred_score_thr=args.min_score, out_file=osp.join(args.out_dir, 'vis', names[path]))
    written, content = osp.join(args.out_dir, 'predictions.json'), results.content
    results.write(written)
    print(f"{counted(len(content['images']), 'image')}, {counted(len(content['annotations']), 'instance')}: {written}")
    return 0 if len(content['images']) == len(paths) else 1


if __name__ == '__main__':
    sys.exit(main())
