"""Instance masks for images: ``python demo/image_demo.py IMAGE CONFIG --weights CKPT --out-dir DIR``."""
from __future__ import annotations

import argparse
import os.path as osp
import sys

import mmiam  # noqa: F401  (first: registers everything and makes mmdet importable on mmcv-lite)

# isort: split
import mmcv
from mmdet.registry import VISUALIZERS
from mmengine.config import DictAction
from rich.progress import track

from mmiam import zoo
from mmiam.apis import CocoResults, image_files, init_model, predict_files
from mmiam.apis.inference import output_names
from mmiam.apis.options import number


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='an image, a folder of images, or a text file of paths')
    parser.add_argument('config', help='config file')
    parser.add_argument('--weights', help='checkpoint (default: the published weights of the config)')
    parser.add_argument('--random', action='store_true', help='without weights: random ones, and masks of no meaning')
    parser.add_argument('--out-dir', default='outputs', help='folder for overlays (vis/) and predictions.json')
    parser.add_argument('--device', help='default: the first CUDA device, else the CPU')
    parser.add_argument('--score-thr', type=number(0, 1), default=0.05, help='lowest score that is drawn and written')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    try:
        paths = image_files(args.image)
        weights = args.weights or (None if args.random else zoo.weights_of_config(args.config))
        model = init_model(args.config, weights, args.device, args.cfg_options)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    visualizer = VISUALIZERS.build(dict(type='DetLocalVisualizer', name='image_demo'))
    visualizer.dataset_meta = model.dataset_meta
    results = CocoResults(model.dataset_meta['classes'])
    failed = 0
    names = dict(zip(paths, output_names(paths)))
    for path, sample in track(predict_files(model, paths), 'images', total=len(paths)):
        if sample is None:
            failed += 1
            continue
        results.add(path, sample, args.score_thr)
        visualizer.add_datasample(
            names[path], mmcv.imread(path, channel_order='rgb'), sample.cpu(), draw_gt=False,
            pred_score_thr=args.score_thr, out_file=osp.join(args.out_dir, 'vis', names[path]))
    results.write(osp.join(args.out_dir, 'predictions.json'))
    print(f"{len(paths) - failed} images, {len(results.content['annotations'])} instances: "
          f"{osp.join(args.out_dir, 'predictions.json')}")
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
