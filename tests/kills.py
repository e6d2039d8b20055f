"""Kills every long tool at random moments, starts it again, and compares what it made with that of a run in one piece.

    python tests/kills.py --kills 20 --seed 0

Each kill is a SIGKILL to a tool that works on a miniature data set in a folder of its own. The tools are forked from
this process, which has imported everything: moments are those of work. Exit status 1 if a result differs, if the second
start fails, or if a process is left.
"""
from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from conftest import build_tiny_config  # noqa: E402
from support import MINI_CLASSES, build_mini_voc, load_tool  # noqa: E402

import mmiam.apis.own_photos  # noqa: E402, F401

#: what says when and where, not what
CLOCKS = {'seconds', 'time', 'message_hub', 'experiment_name', 'cfg', 'key'}
LOGS = ('.log', '.lock', 'last_checkpoint', '/train.py')
#: folders that are called after the dates of proposals, among other things
DATED = re.compile(r'mined-[0-9a-f]{12}')

#: words of the tools; {again} is what a second start has beside
TOOLS = {
    'generate': 'tools/proposals/generate.py {data}/photos out --recursive --workers 2 --max-proposals 50',
    'mine_cues': 'tools/mine_cues.py {data}/tiny.py {data}/tiny.pth --work-dir out --device cpu',
    'train': 'tools/train.py {data}/train.py --work-dir out {again}',
    'train_frozen': 'tools/train_frozen.py {data}/frozen.py --work-dir out --head-steps 40 --fill-steps 240',
    'test': 'tools/test.py {data}/tiny.py {data}/tiny.pth --work-dir out/work --out out/dump.json',
    'export': 'tools/export_pseudo_labels.py {data}/tiny.py {data}/tiny.pth --out out/pseudo.json --device cpu',
    'label': 'label {data}/photos --out out/masks.json --effort 0.1 --device cpu'}


def make_data(data: Path) -> None:
    """A miniature VOC tree, configs and weights, and a folder of tagged photos."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope
    from PIL import Image
    cfg = build_tiny_config(build_mini_voc(data / 'voc'), 'out')
    cfg.dump(data / 'tiny.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=MINI_CLASSES))), data / 'tiny.pth')
    cfg.train_cfg.max_epochs = 6
    cfg.custom_hooks[0].fill_begin = 3
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    cfg.dump(data / 'train.py')
    cfg.model.filler.update(stride=4, num_stacks=1, num_steps=2)
    cfg.dump(data / 'frozen.py')
    rng = np.random.default_rng(0)
    for name, place in (('cat', 0), ('dog', 2)):
        (data / 'photos' / name).mkdir(parents=True)
        for number in range(3):
            picture = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
            picture[20:70, 30 + 8 * number:80, place] += 150
            Image.fromarray(picture).save(data / 'photos' / name / f'{number}.png')


def start(words: str, folder: Path) -> int:
    """Fork a tool that works in a folder; the process' id, which is that of its group too."""
    pid = os.fork()
    if pid:
        return pid
    status = 3
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open('said.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tool, *sys.argv[1:] = words.split()
        if tool == 'label':
            from mmiam.cli import main
            sys.argv.insert(1, tool)
        else:
            sys.argv[0], main = tool, load_tool(tool).main
        status = main() or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def finish(pid: int, kill_after: float | None = None) -> int | None:
    """Exit status of a tool; None where it was killed."""
    end = None if kill_after is None else time.monotonic() + kill_after
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def is_left(group: int, patience: float = 60) -> bool:
    """Whether processes of a group are there, after they had some seconds to notice that they are alone."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return True


def differences(one, other, where: str = '') -> list[str]:
    """Places at which two contents of files differ, but for :data:`CLOCKS`."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - CLOCKS
        return [found for key in sorted(keys, key=str) for found in differences(one.get(key), other.get(key),
                                                                              f'{where}.{key}')]
    if isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        return [found for i, pair in enumerate(zip(one, other)) for found in differences(*pair, f'{where}[{i}]')]
    if isinstance(one, (torch.Tensor, np.ndarray)) and type(one) is type(other):
        one, other = np.asarray(one), np.asarray(other)
        return [] if one.dtype == other.dtype and one.tobytes() == other.tobytes() else [where]
    return [] if one == other else [where]


def compare(folder: Path, reference: Path) -> list[str]:
    """What differs in the results in two folders: every file but logs, byte by byte where it holds no clock."""
    def results(root):
        return {DATED.sub('mined', str(path.relative_to(root))): path for path in root.rglob('*')
                if path.is_file() and not f'/{path}'.endswith(LOGS) and 'vis_data' not in path.parts
                and not ('work' in path.parts and path.suffix == '.json')}
    names, wanted = results(folder), results(reference)
    found = [f'{name} is {"left over" if name in names else "missing"}' for name in sorted(names.keys() ^ wanted)]
    for name in sorted(names.keys() & wanted):
        one, other = names[name], wanted[name]
        if one.read_bytes() == other.read_bytes():
            continue
        if one.suffix == '.npz':
            with np.load(one) as a, np.load(other) as b:
                found += differences(dict(a), dict(b), name)
        elif one.suffix == '.pth':
            found += differences(*(torch.load(path, weights_only=True) for path in (one, other)), name)
        else:
            found.append(f'{name} has other bytes')
    return found


def run(root: Path, kills: int, seed: int, tools: list[str]) -> int:
    """Number of kills after which something was not as it should be."""
    data, failures, times = root / 'data', 0, {}
    data.mkdir(parents=True)
    builder = os.fork()  # so that no thread of torch's runs here when the tools are forked
    if not builder:
        make_data(data)
        os._exit(0)
    assert finish(builder) == 0
    for tool in tools:
        folder = root / tool / 'run'  # of each run, for results may hold its path
        folder.mkdir(parents=True)
        begin = time.monotonic()
        status = finish(start(TOOLS[tool].format(data=data, again=''), folder))
        times[tool] = time.monotonic() - begin
        print(f'{tool}: {times[tool]:.1f} s in one piece, exit status {status}', flush=True)
        assert status == 0, (folder / 'said.log').read_text()[-3000:]
        folder.rename(root / tool / 'whole')
    rng = random.Random(seed)
    for number in range(1, kills + 1):
        tool = tools[(number - 1) % len(tools)]
        folder, status = root / tool / 'run', 0
        while status is not None:  # it was done before its time was
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            moment = rng.uniform(0, times[tool])
            status = finish(pid := start(TOOLS[tool].format(data=data, again=''), folder), moment)
        found = ['processes are left'] if is_left(pid) else []
        half = [str(path.relative_to(folder)) for path in folder.rglob('.*.tmp')]
        begin = time.monotonic()
        status = finish(start(TOOLS[tool].format(data=data, again='--resume'), folder))
        if status:
            found.append(f'exit status {status}: ' + (folder / 'said.log').read_text()[-2000:])
        for path in folder.rglob('.*.tmp'):  # what a kill cut off lies under such a name, and nobody reads it
            path.unlink()
        found += compare(folder / 'out', root / tool / 'whole/out') if not status else []
        folder.rename(root / tool / f'killed{number}')
        failures += bool(found)
        print(f'{number}: {tool} killed after {moment:.2f} s, then {time.monotonic() - begin:.1f} s'
              + (f', cut off: {half}' if half else '') + (f': WRONG {found[:5]}' if found else ': the same'),
              flush=True)
    return failures


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--tools', nargs='+', choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument('--out', help='folder that is kept (default: a temporary one)')
    args = parser.parse_args(argv)
    if args.out:
        return 1 if run(Path(args.out).resolve(), args.kills, args.seed, args.tools) else 0
    with tempfile.TemporaryDirectory() as folder:
        return 1 if run(Path(folder), args.kills, args.seed, args.tools) else 0


if __name__ == '__main__':
    sys.exit(main())
