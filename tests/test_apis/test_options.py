import argparse
import io
import sys

import pytest
import torch

from mmiam.apis.options import device_name, number, run_tool
from mmiam.utils.jobs import LAUNCHERS


@pytest.mark.parametrize('text', ['nan', '-0.1', '1.5', 'inf', '', 'x'])
def test_numbers_that_are_none_or_out_of_range(text):
    assert number(0, 1)('0.5') == 0.5 and number(1, kind=int)('7') == 7
    with pytest.raises(argparse.ArgumentTypeError, match='is no float from 0 to 1'):
        number(0, 1)(text)


def test_a_lost_process_of_a_data_loader_is_a_sentence(capsys):
    def lose():
        raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')
    assert run_tool(lose) == 1 and 'error: DataLoader worker (pid 7) is killed' in capsys.readouterr().err


def test_names_that_are_no_text_are_printed(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(out, 'utf-8'))
    assert run_tool(lambda: print('caf\udce9.jpg', flush=True)) == 0
    assert out.getvalue() == b'caf\\udce9.jpg\n'


@pytest.mark.parametrize('variable, expected', [
    (None, 'cuda:0'), ('LOCAL_RANK', 'cuda:1'), ('SLURM_LOCALID', 'cuda:1'), ('OMPI_COMM_WORLD_LOCAL_RANK', 'cuda:1')])
def test_a_process_has_the_device_of_its_place_on_the_machine(variable, expected, monkeypatch):
    for name in [name for names in LAUNCHERS.values() for name in names if name]:
        monkeypatch.delenv(name, raising=False)
    assert device_name('cpu') == 'cpu' and device_name(None) == 'cpu'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    if variable:
        monkeypatch.setenv(variable, '3')
    assert device_name(None) == expected and device_name('cuda:7') == 'cuda:7'
