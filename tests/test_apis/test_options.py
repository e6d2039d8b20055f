import argparse
import io
import sys

import pytest

from mmiam.apis.options import number, run_tool


@pytest.mark.parametrize('text', ['nan', '-0.1', '1.5', 'inf', '', 'x'])
def test_numbers_that_are_none_or_out_of_range(text):
    assert number(0, 1)('0.5') == 0.5 and number(1, kind=int)('7') == 7
    with pytest.raises(argparse.ArgumentTypeError, match='is no float from 0 to 1'):
        number(0, 1)(text)


def test_names_that_are_no_text_are_printed(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(out, 'utf-8'))
    assert run_tool(lambda: print('caf\udce9.jpg', flush=True)) == 0
    assert out.getvalue() == b'caf\\udce9.jpg\n'
