import importlib
import sys

import pytest
from support import ROOT, load_tool, run_process

tool = load_tool('tools/misc/check_env.py')
versions = importlib.import_module('versions')  # found by the tool


def test_prints_every_package_and_succeeds():
    done = run_process(ROOT / 'tools/misc/check_env.py')
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith('Python 3.') and sys.executable in lines[0]
    for line, (name, (wanted, _)) in zip(lines[1:], versions.SUPPORTED.items()):
        assert line.split() == [name, versions.installed_version(name), 'wanted', wanted]
    assert any(line.startswith('mmcv ') for line in lines[1 + len(versions.SUPPORTED):])
    assert any(line.startswith('CUDA ') for line in lines)
    assert lines[-1] == 'mmiam can run here' and 'PROBLEM' not in done.stdout


@pytest.mark.parametrize('version, problem', [
    (None, 'mmdet is not installed; mmiam needs mmdet>=3.3,<3.4. Fix: pip install "mmdet>=3.3,<3.4"'),
    ('2.28.0', 'mmdet 2.28.0 is installed, but mmiam needs mmdet>=3.3,<3.4. Fix: pip install "mmdet>=3.3,<3.4"')])
def test_a_problem_is_printed_with_its_remedy(monkeypatch, capsys, version, problem):
    real = versions.installed_version
    monkeypatch.setattr(versions, 'installed_version', lambda name: version if name == 'mmdet' else real(name))
    assert tool.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(text.split() == ['mmdet', version or 'missing', 'wanted', '>=3.3,<3.4'] for text in lines)
    assert lines[-2:] == [f'PROBLEM: {problem}', '1 problem(s)']


def test_a_package_that_cannot_be_imported(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'mmiam', None)
    assert tool.main() == 1
    assert 'PROBLEM: import mmiam fails' in capsys.readouterr().out
