"""The command ``mmiam`` (also ``python -m mmiam``): masks of photographs, and masks learned from one's own tags."""
from __future__ import annotations

import argparse
import sys
import warnings


def numbers(count: int):
    """A converter of texts like '120,80'."""

    def convert(text: str) -> tuple[float, ...]:
        parts = text.split(',')
        if len(parts) != count:
            raise argparse.ArgumentTypeError(f'{text!r}: expected {count} numbers with commas between them')
        try:
            return tuple(float(part) for part in parts)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r}: expected {count} numbers with commas between them') from None

    return convert


def make_parser() -> argparse.ArgumentParser:
    from mmiam.version import __version__
    parser = argparse.ArgumentParser('mmiam', description='Instance masks from image-level tags.')
    parser.add_argument('--version', action='version', version=f'mmiam {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    predict = commands.add_parser('predict', help='masks of photographs by a published model')
    predict.add_argument('images', nargs='+', help='photos, and folders of photos (with all below)')
    predict.add_argument('--model', default='voc20', help="'voc20': twenty everyday classes (default); 'imagenet': "
                         'the thousand of ImageNet')
    predict.add_argument('--tags', default='', help="only these classes, e.g. 'cat,dog'; with --point or --box the "
                         'name of what is there')
    predict.add_argument('--point', type=numbers(2), nargs='+', action='extend', default=[], metavar='X,Y',
                         help='the object at this pixel, instead of all that are recognized')
    predict.add_argument('--box', type=numbers(4), nargs='+', action='extend', default=[], metavar='X1,Y1,X2,Y2',
                         help='the object in this box')
    predict.add_argument('--fast', action='store_true', help='look at the whole photo alone, not at windows of it too: '
                         'five times faster, and small objects are missed')
    predict.add_argument('--score-thr', type=float, help='least score, from 0 to 1 (default: 0.6)')
    predict.add_argument('--out', default='outputs', help='folder to write (default: outputs)')
    predict.add_argument('--format', default='coco', choices=['coco', 'png', 'yolo', 'labelme', 'cvat'],
                         help='further files beside predictions.json (COCO)')
    predict.add_argument('--device', help='default: a CUDA device where there is one, else the CPU')
    predict.set_defaults(run=run_predict)

    label = commands.add_parser('label', help='learn from your own tagged photos, and write their masks')
    label.add_argument('photos', help='folder of photos; without --tags one folder a class')
    label.add_argument('--out', default='masks.json', help='COCO json to write (default: masks.json)')
    label.add_argument('--tags', default='folders', help='.csv (file,tag,tag) or COCO .json of tags')
    label.add_argument('--effort', type=float, default=1., help='factor of the length of training (default: 1)')
    label.add_argument('--work-dir', help='everything else (default: OUT without suffix); delete it to start anew')
    label.add_argument('--seed', type=int, default=0)
    label.add_argument('--device', help='default: a CUDA device where there is one, else the CPU')
    label.set_defaults(run=run_label)
    export = commands.add_parser('export', help='a model as files for ONNX Runtime, OpenVINO or TorchScript')
    export.add_argument('model', help="'voc20', 'imagenet', or the folder of a run of mmiam label")
    export.add_argument('--format', default='onnx', choices=['onnx', 'openvino', 'torchscript'])
    export.add_argument('--out', default='exported', help='folder to write (default: exported)')
    export.set_defaults(run=run_export)
    serve = commands.add_parser('serve', help='a page on this machine to look at photos and click on objects')
    serve.add_argument('--model', default='voc20', help="'voc20' (default), 'imagenet', or the folder of a run of "
                       'mmiam label')
    serve.add_argument('--host', default='127.0.0.1', help='address to serve at (default: this machine alone)')
    serve.add_argument('--port', type=int, default=8000)
    serve.add_argument('--device', help='default: a CUDA device where there is one, else the CPU')
    serve.set_defaults(run=run_serve)
    return parser


def run_predict(args: argparse.Namespace) -> int:
    """Exit status 1 if a photo cannot be read; the others are done."""
    from mmengine.logging import MMLogger

    import mmiam
    from mmiam.apis.photos import SCORE_THR, find_photos, predict_photos
    prompts = [dict(point=point) for point in args.point] + [dict(box=box) for box in args.box]
    tags = [tag for tag in args.tags.split(',') if tag.strip()]
    paths, unread = find_photos(args.images)
    if prompts and (len(paths) + len(unread) != 1 or len(tags) > 1):
        raise ValueError('--point and --box are for one photo at a time, and take at most one name in --tags')
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        raise ValueError(f'--score-thr is a number from 0 to 1, got {args.score_thr}')
    for path in unread:
        print(f'{path}: this format is not read; save it as JPEG or PNG', file=sys.stderr)
    MMLogger.get_current_instance().setLevel('ERROR')  # what concerns the user is printed
    model, masks = mmiam.load(args.model, args.device).model, 0
    found = predict_photos(model, paths, args.out, prompts, tags,
                           SCORE_THR if args.score_thr is None else args.score_thr, args.format, not args.fast)
    for path, instances, classes in found:
        if instances is None:
            unread.append(path)
            print(f'{path}: not an image, or a broken one; it is left out', file=sys.stderr)
            continue
        masks += len(instances)
        named = [f'{classes[label].split(",")[0]} {100 * score:.0f}%'
                 for label, score in zip(instances.labels.tolist(), instances.scores.tolist())]
        print(f'{path}: {", ".join(named) or "nothing found"}', flush=True)
    print(f'{masks} masks on {len(paths) - sum(path in paths for path in unread)} photos: {args.out}/pictures, '
          f'{args.out}/predictions.json')
    return 1 if unread else 0


def run_label(args: argparse.Namespace) -> int:
    """Exit status 1 if a photo cannot be read; the others are done."""
    from mmiam.apis.own_photos import label_photos
    return label_photos(args.photos, args.out, args.tags, args.effort, args.work_dir, args.seed, args.device)


def run_export(args: argparse.Namespace) -> int:
    """Print the files."""
    from mmengine.logging import MMLogger

    import mmiam
    from mmiam.integrations.export import export_model
    MMLogger.get_current_instance().setLevel('ERROR')
    print(*export_model(mmiam.load(args.model, 'cpu').model, args.out, args.format), sep='\n')
    return 0


def run_serve(args: argparse.Namespace) -> int:
    """Until it is interrupted."""
    from mmengine.logging import MMLogger

    from mmiam.integrations.serve import serve
    MMLogger.get_current_instance().setLevel('ERROR')
    return serve(args.model, args.host, args.port, args.device)


def main(argv: list[str] | None = None) -> int:
    """Run a command; 0: done, 1: some photos could not be read, 2: wrong use."""
    args = make_parser().parse_args(argv)
    warnings.simplefilter('ignore')  # of libraries; what concerns the user is printed
    from mmiam.apis.options import run_tool
    return run_tool(lambda: args.run(args))


if __name__ == '__main__':
    sys.exit(main())
