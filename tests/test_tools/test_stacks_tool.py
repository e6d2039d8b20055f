"""tools/misc/test_stacks.sh with environments that only write down what they are asked to run."""
import pytest
from support import ROOT, run_process

TOOL = ROOT / 'tools/misc/test_stacks.sh'


@pytest.mark.parametrize('status', [0, 1])
def test_environments_that_are_there_are_used(tmp_path, status):
    for name in ('py312', 'py313'):
        python = tmp_path / name / 'bin/python'
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\nexit {status}\n')
        python.chmod(0o755)
        (tmp_path / name / 'built').touch()
    assert run_process(TOOL, tmp_path, 'py312', 'py313', '--', '-k', 'ops').returncode == status
    calls = (tmp_path / 'calls').read_text().splitlines()
    assert [call.split()[0] for call in calls] == ['py312', 'py312', 'py313', 'py313']
    assert calls[0].endswith('tools/misc/check_env.py') and calls[1].endswith('-k ops tests')


@pytest.mark.parametrize('arguments, message', [([], 'usage'), (['FOLDER', 'py27'], 'py27')])
def test_wrong_use(tmp_path, arguments, message):
    done = run_process(TOOL, *arguments, cwd=tmp_path)
    assert done.returncode != 0 and message in done.stderr
