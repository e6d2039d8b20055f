"""The commands of docs/annotation: ``mmiam predict`` runs as it stands there, others meet their programs' parsers."""
import argparse
import inspect
import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import ROOT

from mmiam.cli import main
from mmiam.integrations import cvat, label_studio
from mmiam.integrations.label_studio import Controls

PAGES = sorted((ROOT / 'docs/annotation').glob('*.md'))
TEXT = {page.name: page.read_text(encoding='utf-8') for page in PAGES}


def blocks(language):
    return [(name, block) for name, text in TEXT.items()
            for block in re.findall(rf'^```{language}\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)]


COMMANDS = [(name, shlex.split(line)) for name, block in blocks('sh') for line in block.splitlines()]


def test_extras_exist():
    for words in (words for _, words in COMMANDS if words[0] == 'pip'):
        for extra in re.fullmatch(r'\.\[(.*)\]', words[-1])[1].split(','):
            assert (ROOT / f'requirements/{extra}.txt').is_file() and f"'{extra}'" in (ROOT / 'setup.py').read_text()


@pytest.mark.parametrize('words', [words for _, words in COMMANDS if words[0] == 'cvat-cli'], ids=' '.join)
def test_cvat_cli_takes_its_commands(words):
    package = pytest.importorskip('cvat_cli.__main__', reason='cvat-cli is not installed (pip install cvat-cli)')
    parser = argparse.ArgumentParser()
    package.configure_common_arguments(parser)
    package.COMMANDS.configure_parser(parser)
    args = parser.parse_args(words[1:])
    inspect.signature(cvat.create).bind(**args.function_parameters)
    assert args.function_module == cvat.__name__


def test_tables_name_the_parameters():
    assert set(re.findall(r'^\| `-p (\w+)=', TEXT['cvat.md'], re.MULTILINE)) == set(
        inspect.signature(cvat.create).parameters) - {'client'}
    from mmiam.integrations.fiftyone import add_masks
    assert set(re.findall(r'^\| `(\w+)=', TEXT['fiftyone.md'], re.MULTILINE)) == set(
        inspect.signature(add_masks).parameters) - {'samples'}
    command, = (words for _, words in COMMANDS if words[:2] == ['python', '-m'])
    assert command[2] == label_studio.__name__ and label_studio.make_parser().parse_args(command[3:]).port == 9090


def test_clicks_of_the_labeling_interface_reach_the_backend():
    """Label Studio makes every control smart unless told otherwise, and would offer the brush first."""
    (_, config), = blocks('xml')
    assert Controls(config).mask == 'brushlabels' and Controls(config).choices
    smart = {tag.tag: (tag.get('smart', 'true'), tag.get('smartOnly')) for tag in ElementTree.fromstring(config).iter()}
    assert smart['BrushLabels'][0] == 'false'
    assert smart['KeyPointLabels'] == smart['RectangleLabels'] == ('true', 'true')


@pytest.mark.parametrize('words', [words for _, words in COMMANDS if words[0] == 'mmiam'], ids=' '.join)
def test_predict(words, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo('photos/a.png')
    shutil.copytree('photos', 'pets/images')
    assert main(words[1:]) == 0
    for name in re.findall(r'(?:pets|outputs)/[\w.]+', TEXT['files.md']):
        if name.split('/')[0] in words or name.startswith(f'outputs/{words[-1]}'):
            assert Path(name).exists(), name
