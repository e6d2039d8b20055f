"""The micro-benchmark: both sides agree, and what it reports is what it measured."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools'


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import benchmark_ops
    return benchmark_ops


@pytest.mark.parametrize('section,settings', [
    ('filling', dict(num=1, backward=False, size=8)), ('filling', dict(num=3, backward=True, size=8, channels=2)),
    ('conv_crf', dict(blur=4, size=(33, 41))), ('conv_crf', dict(blur=1, num=2, size=(9, 16))),
])
def test_both_sides_agree(benchmark, section, settings):
    ours, theirs = benchmark.__dict__[f'{section}_case'](**settings)
    assert benchmark.max_rel_error(ours(), theirs()) <= benchmark.TOLERANCE[section]


def test_unequal_results_stop_it(benchmark, monkeypatch):
    monkeypatch.setitem(benchmark.CASES, 'filling', {'wrong': (
        lambda: (lambda: [torch.ones(2)], lambda: [torch.tensor([1., 1.1])]), {})})
    with pytest.raises(AssertionError, match='filling, wrong: results differ by'):
        benchmark.benchmark_section('filling', threads=1, repeats=1)


def test_figures(benchmark, monkeypatch):
    monkeypatch.setitem(benchmark.CASES, 'filling', {'tiny': (benchmark.filling_case,
                                                              dict(num=1, backward=True, size=8, channels=2))})
    monkeypatch.setattr(benchmark, 'peak_memory', lambda section, case, side, threads: (10, 40)[side])
    monkeypatch.setattr(benchmark, 'time_in_turns', lambda sides, repeats, clock: [[1., 3., 2.], [9., 6., 8.]])
    figures = benchmark.benchmark_section('filling', threads=1, repeats=3)
    assert figures['speedup'] == 4 and figures['memory_ratio'] == 4 and figures['max_rel_error'] < 1e-5
    assert json.loads(json.dumps(figures))['cases'][0]['case'] == 'tiny'


def test_memory_sees_a_big_tensor(tmp_path):
    script = tmp_path / 'measure.py'
    script.write_text(f"""
import sys
sys.path[:0] = [{str(TOOLS)!r}, {str(TOOLS.parents[1])!r}]
import torch, benchmark_ops
case = lambda size=None: (lambda: None, lambda: torch.ones(1 if size else 16, 2**20).sum())
benchmark_ops.CASES['conv_crf'] = dict(big=(case, {{}}))
for side in (0, 1):
    benchmark_ops._report_memory('conv_crf', 'big', side)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    nothing, big = map(int, done.stdout.split())
    assert nothing < 8 * 2**20 and 56 * 2**20 < big < 96 * 2**20


def test_response_maps_of_a_small_image(call_tool, tmp_path, capsys, monkeypatch):
    """The benchmark of Peak Response Maps alone; it measures memory in processes of their own, here in this one."""
    tool = 'tools/analysis_tools/benchmark_ops_prm.py'
    words = ['--backbones', 'mobilenet_v2', '--size', '64', '--peaks', '2', '--threads', '1']

    def run(command, **options):
        call_tool(tool, *command[2:])
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out + '\n1.5\n')

    monkeypatch.setattr(subprocess, 'run', run)
    call_tool(tool, *words, '--repeats', '1', '--json', str(tmp_path / 'prm.json'))
    result = json.loads((tmp_path / 'prm.json').read_text())['mobilenet_v2']
    assert result['mib_ours'] == 1.5 and all(value >= 0 for value in result.values())
    assert capsys.readouterr().out.startswith('mobilenet_v2 ')
