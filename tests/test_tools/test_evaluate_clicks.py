"""Clicks by hand, and on mini_voc with random weights."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import load_tool

tool = load_tool('tools/analysis_tools/evaluate_clicks.py')


def test_ious_by_hand():
    """Two masks of a row of ten pixels, a void pixel between; the model's answer is the mask clicked on and more."""
    masks, void = np.zeros((3, 1, 10), bool), np.zeros((1, 10), bool)
    masks[0, 0, :4], masks[1, 0, 5:8], masks[2, 0, 9], void[0, 4] = True, True, True, True
    answers = {0: range(0, 6), 1: range(6, 10)}  # of a click left or right of the void pixel; none for the last pixel
    clicked = []

    def session(prompts):
        (x, y), = (prompt['point'] for prompt in prompts)
        clicked.append((x, y))
        found = torch.zeros(int(x < 9), 1, 10, dtype=torch.bool)
        found[:, 0, list(answers[int(x > 4.5)])] = True
        return SimpleNamespace(masks=found)

    ious = tool.click_ious(session, masks, void, np.random.default_rng(0))
    assert ious == pytest.approx([4 / 5, 2 / 5, 0])
    for (x, y), mask in zip(clicked, masks):  # centers of pixels of the mask
        assert y == 0.5 and x % 1 == 0.5 and mask[0, int(x)]


def test_summary_by_hand():
    assert tool.summarize([1., 0.5, 0.]) == pytest.approx(dict(clicks=3, mean_iou=50, share_at_50=200 / 3))


def test_tool(tiny_files, tmp_path, capsys):
    """Objects of 24 x 32 pixels: 196, 72 and 170 of 768; the least area leaves out the second."""
    arguments = [*tiny_files, '--device', 'cpu', '--split', 'val', '--json', str(tmp_path / 'clicks.json')]
    contents = []
    for least, number in (('0.02', 3), ('0.1', 2), ('0.1', 2)):
        assert tool.main([*arguments, '--min-area', least]) == 0
        contents.append(json.loads((tmp_path / 'clicks.json').read_text()))
        assert contents[-1]['clicks'] == len(contents[-1]['ious']) == number
        assert f'{number} clicks: mean IoU {contents[-1]["mean_iou"]:.1f} %' in capsys.readouterr().out
        assert all(0 <= iou <= 1 for iou in contents[-1]['ious'])
    assert contents[1] == contents[2]


def test_errors(tiny_files, tmp_path, capsys):
    assert tool.main([*tiny_files, '--device', 'cpu', '--split', 'nowhere']) == 2
    assert 'nowhere.txt' in capsys.readouterr().err
    assert tool.main([*tiny_files, '--device', 'cpu', '--min-area', '0.9']) == 2
    assert 'no object' in capsys.readouterr().err
