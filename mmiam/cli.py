"""The command ``mmiam`` (or ``python -m mmiam``): masks for photos, and masks learned from your own tags."""
from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable

from mmengine.logging import MMLogger

from mmiam.apis import find_images, load
from mmiam.apis.inference import OTHER_SUFFIXES
from mmiam.apis.options import add_options, counted, number, tool
from mmiam.apis.photos import MIN_SCORE, captions, predict_photos
from mmiam.version import __version__


def prompt(kind: str, count: int) -> Callable[[str], dict]:
    """Make a converter for argparse that turns a text like '120,80' into a prompt of ``count`` numbers."""

    def convert(text: str) -> dict:
        try:
            values = [float(part) for part in text.split(',')]
        except ValueError:
            values = []
        if len(values) != count:
            raise argparse.ArgumentTypeError(f'{text!r}: expected {count} numbers with commas between them')
        return {kind: values}

    return convert


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('mmiam', description='Instance masks from image-level tags.')
    parser.add_argument('--version', action='version', version=f'mmiam {__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def add(work: Callable[[argparse.Namespace], int], text: str, *shared: str) -> argparse.ArgumentParser:
        command = add_options(commands.add_parser(work.__name__, help=text), *shared)
        command.set_defaults(work=work)
        return command

    command = add(predict, 'masks of photographs', '--model', '--device')
    command.add_argument('images', nargs='+', help='photos, and folders of photos (with all below)')
    command.add_argument('--tags', default='', help="only these classes, e.g. 'cat,dog'; with --point or --box the "
                         'name of what is there')
    command.add_argument('--point', type=prompt('point', 2), nargs='+', action='extend', default=[], metavar='X,Y',
                         help='the object at this pixel, instead of all that are recognized')
    command.add_argument('--box', type=prompt('box', 4), nargs='+', action='extend', default=[], metavar='X1,Y1,X2,Y2',
                         help='the object in this box')
    command.add_argument('--fast', action='store_true', help='look at the whole photo alone, not at windows of it too: '
                         'five times faster, and small objects are missed')
    command.add_argument('--min-score', type=number(0, 1), default=MIN_SCORE, help='least score, from 0 to 1 '
                         '(default: %(default)s)')
    command.add_argument('--out', default='outputs', help='folder to write (default: outputs)')
    command.add_argument('--format', default='coco', choices=['coco', 'png', 'yolo', 'labelme', 'cvat'],
                         help='further files beside predictions.json (COCO)')

    command = add(label, 'learn from your own tagged photos, and write their masks', '--effort', '--seed', '--device')
    command.add_argument('photos', help='folder of photos; without --tags one folder a class')
    command.add_argument('--out', default='masks.json', help='COCO json to write (default: masks.json)')
    command.add_argument('--tags', default='folders', help='.csv (file,tag,tag) or COCO .json of tags')
    command.add_argument('--work-dir', help='everything else (default: OUT without suffix); delete it to start anew')

    command = add(export, 'a model as files for ONNX Runtime, OpenVINO or TorchScript', 'model')
    command.add_argument('--format', default='onnx', choices=['onnx', 'openvino', 'torchscript'])
    command.add_argument('--out', default='exported', help='folder to write (default: exported)')

    command = add(serve, 'a page on this machine to look at photos and click on objects', '--model', '--host', '--port',
                  '--device')
    command.set_defaults(port=8000)
    return parser


def predict(args: argparse.Namespace) -> int:
    """Predict the masks of photos; return exit status 1 if one cannot be read, after the others are done."""
    prompts, tags = args.point + args.box, [tag for tag in args.tags.split(',') if tag.strip()]
    paths = find_images(*args.images)
    if prompts and (len(paths) != 1 or len(tags) > 1):
        raise ValueError('--point and --box are for one photo at a time, and take at most one name in --tags')
    model, broken, masks = load(args.model, args.device).model, 0, 0
    found = predict_photos(model, paths, args.out, prompts, tags, args.min_score, args.format, not args.fast)
    for path, instances, classes in found:
        if instances is None:
            broken += 1
            other = path.lower().endswith(OTHER_SUFFIXES)
            print(f'{path}: ' + ('this format is not read; save it as JPEG or PNG' if other else
                                 'not an image, or a broken one; it is left out'), file=sys.stderr)
            continue
        masks += len(instances)
        print(f'{path}: {", ".join(captions(instances, classes)) or "nothing found"}', flush=True)
    print(f'{counted(masks, "mask")} on {counted(len(paths) - broken, "photo")}: {args.out}/pictures, '
          f'{args.out}/predictions.json')
    return 1 if broken else 0


def label(args: argparse.Namespace) -> int:
    """Learn from tagged photos; return exit status 1 if one cannot be read, after the others are done."""
    from mmiam.apis.own_photos import label_photos
    return label_photos(args.photos, args.out, args.tags, args.effort, args.work_dir, args.seed, args.device)


def export(args: argparse.Namespace) -> int:
    """Export a model, and print the paths of its files."""
    from mmiam.integrations.export import export_model
    print(*export_model(load(args.model, 'cpu').model, args.out, args.format), sep='\n')
    return 0


def serve(args: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    from mmiam.integrations import serve
    return serve.serve(args.model, args.host, args.port, args.device)


@tool
def main(argv: list[str] | None = None) -> int:
    """Run a command, and return its exit status: 0 if all is done, 1 if photos could not be read, 2 for wrong use.

    For the other statuses see :func:`mmiam.apis.options.run_tool`.
    """
    args = make_parser().parse_args(argv)
    warnings.simplefilter('ignore')  # those of libraries; what concerns the user is printed
    if args.work is not label:  # label logs the progress of its training
        MMLogger.get_current_instance().setLevel('ERROR')
    return args.work(args)


if __name__ == '__main__':
    sys.exit(main())
