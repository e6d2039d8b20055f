"""Every shell command of README, docs and model zoo: bash runs the blocks with stubs that write down what they are
given, and each call is checked against the parser of the tool, the configs and the Makefile. What is of no known kind
fails."""
import argparse
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import cache

import mmdet.registry
import mmengine.registry
import pytest
from mmengine.config import Config
from support import ROOT

from mmiam.cli import make_parser

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), ROOT / 'model-zoo.md']
STARTS = ('mmiam ', 'python ', 'pip ', 'mim ', 'make ', 'srun ', 'tools/', 'for ', 'export ')
#: commands whose calls are written down; those of ``PLAIN`` are run
STUBS = ('mmiam', 'python', 'pip', 'mim', 'make', 'srun', 'sod-env/bin/python', 'sod-env/bin/pip',
         'tools/dist_train.sh', 'tools/dist_test.sh', 'tools/slurm_train.sh', 'tools/slurm_test.sh')
PLAIN = ('cat', 'sort', 'comm', 'wc')
#: files that blocks read
FILES = {
    'work_dirs/iam-plus_mbv2_own/last_checkpoint': 'work_dirs/iam-plus_mbv2_own/epoch_12.pth',
    'data/VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt': '2007_000032\n2007_000039\n',
    'data/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt': '2007_000033\n2007_000042\n',
    'data/benchmark_RELEASE/dataset/train.txt': '2008_000002\n2007_000033\n',
    'data/benchmark_RELEASE/dataset/val.txt': '2008_000001\n2007_000039\n'}
PLACEHOLDER = re.compile(r'[A-Z][A-Z_]+')
#: keys that need not stand in a config: of IAMNet's own dict, and what mmengine's runner knows
UNNAMED_KEYS = re.compile(
    r'model\.test_cfg\.return_maps|(load_from|randomness|resume|work_dir|vis_backends|visualizer)\b')


def blocks() -> list[tuple[str, str]]:
    """(page, script) of each block of commands, fenced or indented, and of each command in backticks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        pieces = re.findall(r'^```(\w*)\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
        rest = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)
        pieces += [('', block) for block in re.findall(r'(?:^ {4}\S.*\n(?:^ {4}.*\n)*)', rest, re.MULTILINE)]
        pieces += [('', inline) for inline in re.findall(r'`([^`\n]+)`', rest) if ' ' in inline and '…' not in inline]
        found += [(page.name, script) for language, script in pieces
                  if language in ('sh', 'bash') or not language and script.strip().startswith(STARTS)]
    return found


BLOCKS = blocks()


@pytest.fixture
def calls(tmp_path):
    """``calls(script)`` -> the words of each call that bash makes of a stub, in a folder with :data:`FILES`."""
    record = tmp_path / 'calls'
    stub = tmp_path / 'stub'
    stub.write_text(f'#!{sys.executable} -IS\nimport json, sys\n'
                    f'open({str(record)!r}, "a").write(json.dumps(sys.argv) + "\\n")\n')
    stub.chmod(0o755)
    home = tmp_path / 'home'
    for name in STUBS:
        path = (home if '/' in name else tmp_path / 'bin') / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(stub)
    for name in PLAIN:
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    for name, content in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)

    def run(script):
        bash = shutil.which('bash')
        done = subprocess.run([bash, '-euo', 'pipefail', '-c', script], cwd=home, text=True, capture_output=True,
                              env=dict(PATH=str(tmp_path / 'bin'), LC_ALL='C'), timeout=60)
        assert done.returncode == 0, f'{script}\n{done.stderr}'
        words = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        record.unlink(missing_ok=True)
        return [[one[0].removeprefix(str(tmp_path / 'bin') + '/'), *one[1:]] for one in words]

    run.home = home
    return run


class Parsed(Exception):
    """Carries what a tool's parser made of the words."""


@cache
def tool_main(path: str):
    return runpy.run_path(path, run_name='documented')['main']


def parse(tool: str, words: list[str], monkeypatch) -> argparse.Namespace:
    """What a tool's own parser makes of the words; the tool goes no further."""
    assert (ROOT / tool).is_file(), f'{tool} does not exist'
    original = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(original(parser, args, namespace))

    monkeypatch.syspath_prepend(str((ROOT / tool).parent))
    with monkeypatch.context() as patch:
        main = tool_main(str(ROOT / tool))
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', [tool, *words])
        try:
            main()
        except Parsed as parsed:
            return parsed.args[0]
        except SystemExit as error:
            raise AssertionError(f'{tool} does not take {words}') from error
    assert not words, f'{tool} has no options, but is given {words}'
    return argparse.Namespace()


def has_key(node, key: str) -> bool:
    """Whether a dotted key is one of a config's, or an argument of a class that it names."""
    if UNNAMED_KEYS.match(key):
        return True
    for part in key.split('.'):
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                return False
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return key.endswith('.' + part) and part in arguments(node.get('type', ''))
    return True


def arguments(name: str) -> set[str]:
    """Names of the arguments of a registered class."""
    registries = [one for one in vars(mmdet.registry).values() if isinstance(one, mmengine.registry.Registry)]
    found = [one.get(name) for one in registries] if name else []
    return {key for cls in found if cls for key in inspect.signature(cls).parameters}


def check_config(args: argparse.Namespace) -> None:
    """The config is there, has the keys that are overridden, and trains as many epochs as the checkpoint names."""
    path = getattr(args, 'config', None)
    if path is None or PLACEHOLDER.fullmatch(path):
        assert not getattr(args, 'cfg_options', None)
        return
    assert (ROOT / path).is_file(), f'{path} does not exist'
    cfg = Config.fromfile(ROOT / path)
    options = getattr(args, 'cfg_options', None) or {}
    for key in options:
        assert has_key(cfg.to_dict(), key), f'{path} has no {key}'
    epoch = re.search(r'epoch_(\d+)\.pth', str(getattr(args, 'checkpoint', '')))
    if epoch and cfg.get('train_cfg'):
        assert int(epoch.group(1)) <= cfg.train_cfg.max_epochs, f'{path} trains {cfg.train_cfg.max_epochs} epochs'


def check(words: list[str], monkeypatch) -> None:
    """One call."""
    name, *words = words
    if name == 'srun':
        assert words[:2] == ['-n', '4']
        name, *words = words[2:]
    name = name.removeprefix('sod-env/bin/')
    if name == 'make':
        assert re.search(rf'^{words[0]}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), f'no target {words[0]}'
        assert len(words) == 1
    elif name == 'mmiam':
        make_parser().parse_args(words)
    elif name in ('pip', 'mim'):
        assert words[0] in ('install', 'download', 'search')
    elif name.startswith('tools/'):
        script = ROOT / name
        assert os.access(script, os.X_OK) and len(words) >= 2
        if 'slurm' in name:
            words = words[2:]
        else:
            assert words.pop(2 if 'test' in name else 1).isdigit()
        check_config(parse('tools/train.py' if 'train' in name else 'tools/test.py', words, monkeypatch))
    elif words[0] not in ('-m', '-c'):
        assert name == 'python' and words[0].startswith(('tools/', 'demo/')), f'no known kind of command: {words}'
        check_config(parse(words[0], words[1:], monkeypatch))


@pytest.mark.parametrize('page', sorted({page for page, _ in BLOCKS}))
def test_commands_of_a_page(page, calls, monkeypatch):
    configs = ' '.join(path.read_text() for path in (ROOT / 'configs').rglob('*.py'))
    for script in (script for name, script in BLOCKS if name == page):
        found = calls(script)
        assert found or 'comm ' in script
        for words in found:
            words[0] = words[0].removeprefix(str(calls.home) + '/')
            check(words, monkeypatch)
        for name in re.findall(r'^export (.*)$', script, flags=re.MULTILINE):
            assert all(f"os.environ.get('{part.split('=')[0]}'" in configs for part in name.split())


def test_list_of_train_aug(calls):
    script, = [script for _, script in BLOCKS if 'train_aug' in script and 'comm ' in script]
    assert calls(script) == []
    made = calls.home / 'data/VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt'
    assert made.read_text().split() == ['2007_000032', '2007_000039', '2008_000001', '2008_000002']
