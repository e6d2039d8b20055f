import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / 'tools/analysis_tools/compare_crf.py'))


def test_best_overlaps_by_hand():
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, :2] = masks[1, :, :3] = masks[2] = True
    truth = masks[[0, 0]]
    found = tool['best_overlaps'](masks, np.array([1, 0, 0]), truth, np.array([0, 2]))
    assert found == [pytest.approx(4 / 6), 0.]  # of class 0 the second mask is best; class 2 has none


def test_dense_crf_keeps_sure_maps():
    pytest.importorskip('pydensecrf', reason='pydensecrf2 is optional: pip install pydensecrf2')
    image = torch.zeros(3, 12, 20)
    image[:, :, 10:] = 255.
    logits = torch.full((2, 12, 20), -4.)
    logits[0, :, 10:] = 4.
    logits[0, 5, 3] = 1.  # a speck in the wrong half
    masks = tool['dense_crf'](logits, image)
    assert masks.shape == (2, 12, 20) and masks[0, :, 10:].all() and not masks[0, :, :10].any() and not masks[1].any()


def test_tool_on_mini_voc(tiny_config, tmp_path, capsys):
    pytest.importorskip('pydensecrf', reason='pydensecrf2 is optional: pip install pydensecrf2')
    cfg = tiny_config()
    cfg.model.peak_head.class_thr = -50.
    cfg.dump(tmp_path / 'tiny.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'tiny.pth')
    arguments = [str(tmp_path / 'tiny.py'), str(tmp_path / 'tiny.pth'), '--json', str(tmp_path / 'crf.json')]
    assert tool['main'](arguments) == 0
    result = json.loads((tmp_path / 'crf.json').read_text())
    assert set(result) == {'none', 'ConvCRF', 'dense CRF'}
    assert all(row['instances'] == 3 and row['maps'] > 0 and 0 <= row['best_overlap'] <= 1 for row in result.values())
    assert tool['main']([*arguments, '--cfg-options', 'model.post_processor.crf=None']) == 2
    assert 'ConvCRFPostProc' in capsys.readouterr().err
