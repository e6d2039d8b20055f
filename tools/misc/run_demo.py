"""Masks on photographs by the published model; then the whole method on images that it makes itself: data, proposals,
both training stages, evaluation, pictures.

    python tools/misc/run_demo.py [--work-dir work_dirs/demo]

What is there already is not made again; a killed run goes on where it was.
"""
from __future__ import annotations

import argparse
import os
import os.path as osp
import subprocess
import sys
import time

ROOT = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
CONFIG = osp.join(ROOT, 'configs', 'iam_r18_critters.py')
COMPARE = osp.join(ROOT, 'configs', 'iam_r18_critters_compare.py')
PHOTOS = ('chelsea.png', 'astronaut.png', 'motorcycle_left.png')
ROWS = ('CAM', 'PRM', 'IAM')
FIGURES = ('mAP_25', 'mAP_50', 'mAP_75', 'ABO')


def run_tool(script: str, *arguments: str) -> None:
    """Run one of the tools, and show the command as a user would type it."""
    command = [osp.join('tools', script), *arguments]
    print('\n$ python ' + ' '.join(command), flush=True)
    started = time.time()
    subprocess.run([sys.executable, osp.join(ROOT, command[0]), *arguments], check=True)
    print(f'[{time.time() - started:.0f} s]', flush=True)


def draw_photographs(out: str) -> None:
    """Masks of photographs that come with scikit-image, by the published model."""
    import skimage

    from mmiam.cli import main as mmiam
    folder = osp.join(osp.dirname(skimage.__file__), 'data')
    photos = [osp.join(folder, name) for name in PHOTOS]
    print('\n$ mmiam predict ' + ' '.join([*photos, '--out', out]), flush=True)
    if mmiam(['predict', *photos, '--out', out]):
        print('the photographs are left out, the rest goes on', flush=True)


def evaluate(work_dir: str, checkpoint: str) -> str:
    """CAM, PRM and IAM on the held-out images, from one run, as a table in percent; also written to summary.json."""
    from mmengine.config import Config
    from mmengine.runner import Runner
    from terminaltables import AsciiTable

    from mmiam.utils.files import write_json
    cfg = Config.fromfile(COMPARE)
    cfg.work_dir = osp.join(work_dir, 'test')
    cfg.load_from = checkpoint
    metrics = Runner.from_cfg(cfg).test()
    summary = {row: {figure: round(metrics[f'{row}/{figure}'], 2) for figure in FIGURES} for row in ROWS}
    write_json(osp.join(work_dir, 'summary.json'), summary)
    rows = [[row, *(f'{value:.1f}' for value in figures.values())] for row, figures in summary.items()]
    return AsciiTable([['critters, held out (%)', *FIGURES], *rows]).table


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', default=osp.join('work_dirs', 'demo'))
    parser.add_argument('--num-train', type=int, default=600, help='training images')
    parser.add_argument('--num-val', type=int, default=120, help='held-out images')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='handed to tools/train.py')
    args = parser.parse_args(argv)
    started = time.time()
    data = osp.join(args.work_dir, 'data')
    proposals = osp.join(args.work_dir, 'proposals')
    os.environ.update(CRITTERS_ROOT=osp.abspath(data), CRITTERS_PROPOSALS=osp.abspath(proposals))
    # on maps this small more threads mostly wait for one another, which costs processor time
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    workers = str(os.cpu_count() or 1)
    draw_photographs(osp.join(args.work_dir, 'photographs'))
    train_dir = osp.join(args.work_dir, 'train')
    run_tool('misc/make_critters.py', data, '--num-train', str(args.num_train), '--num-val', str(args.num_val),
             '--workers', workers)
    run_tool('proposals/generate.py', osp.join(data, 'JPEGImages'), proposals, '--workers', workers)
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    run_tool('train.py', CONFIG, '--work-dir', train_dir, '--resume', *options)
    with open(osp.join(train_dir, 'last_checkpoint'), encoding='utf-8') as file:
        checkpoint = file.read().strip()
    table = evaluate(args.work_dir, checkpoint)
    sheet = osp.join(args.work_dir, 'sheet.png')
    run_tool('analysis_tools/draw_maps.py', CONFIG, checkpoint, '--out', sheet, '--num', '12')
    print(table)
    used = sum(os.times()[:4]) / 60  # of this process and those that it waited for
    print(f'{(time.time() - started) / 60:.1f} minutes, {used:.1f} of the processor; figures in '
          f'{osp.join(args.work_dir, "summary.json")}, pictures:\n{sheet}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
