"""What docs/method.md quotes is in the package, and what docs/extending.md and docs/getting_started.md show, runs."""
import re

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS, MODELS
from mmengine.structures import InstanceData
from support import ROOT

from mmiam.proposals.io import READERS, find_proposal_file, load_proposals


def blocks(page):
    return re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / page).read_text(encoding='utf-8'), flags=re.DOTALL)


QUOTES = blocks('method.md')


@pytest.mark.parametrize('quote', QUOTES, ids=range(len(QUOTES)))
def test_quotes_are_the_code(quote):
    first, rest = quote.split('\n', 1)
    assert rest in (ROOT / first.removeprefix('# ')).read_text(encoding='utf-8')


def test_post_processor_by_hand():
    code, = [block for block in blocks('extending.md') if 'class RelativeThreshold' in block]
    exec(code, {'__name__': 'extending_page'})
    try:
        step = MODELS.build(dict(type='RelativeThreshold', share=.5, nms_iou=None))
        maps = torch.tensor([[[.8, .5], [.3, .0]], [[.2, .2], [.09, .11]]])
        cues = InstanceData(labels=torch.tensor([0, 1]), class_scores=torch.zeros(2), iams=maps.logit(1e-6))
        found = step(cues, torch.zeros(3, 2, 2), None)
        assert found.masks.tolist() == [[[True, True], [False, False]], [[True, True], [False, True]]]
        assert found.scores.tolist() == pytest.approx([.5 * .65, .5 * .17], abs=1e-4)
        assert found.bboxes.tolist() == [[0, 0, 2, 1], [0, 0, 2, 2]]
    finally:
        MODELS.module_dict.pop('RelativeThreshold')


def test_proposal_format_of_ones_own(tmp_path):
    code, = [block for block in blocks('extending.md') if 'READERS' in block]
    (tmp_path / 'a.txt').write_text('1 0 3 2\n0 0 5 4\n')
    with pytest.raises(FileNotFoundError):
        find_proposal_file(tmp_path, 'a')
    try:
        exec(code, {})
        loaded = load_proposals(find_proposal_file(tmp_path, 'a'), size=(4, 5))
        with pytest.raises(ValueError, match='a.txt.*do not tell the size'):
            load_proposals(tmp_path / 'a.txt')
    finally:
        READERS.pop('txt', None)
    expected = np.zeros((2, 4, 5), bool)
    expected[0, :2, 1:3], expected[1] = True, True
    assert (loaded.masks() == expected).all() and loaded.origin == 'boxes'


def test_metric_of_ones_own():
    code, = [block for block in blocks('extending.md') if 'class CountError' in block]
    try:
        exec(code, {'__name__': 'extending_page'})
        metric = METRICS.build(dict(type='CountError', min_score=.4))
    finally:
        METRICS.module_dict.pop('CountError', None)
    scores = torch.tensor([.9, .4, .3])
    metric.process(None, [dict(pred_instances=dict(scores=scores), instances=[{}]),
                          dict(pred_instances=dict(scores=scores[:0]), instances=[{}, {}])])
    assert metric.evaluate(2) == dict(count_error=1.5)


def test_inferencer_as_shown(tiny_files, tmp_path, monkeypatch):
    code, = [block for block in blocks('getting_started.md') if 'import IAMInferencer' in block]
    image = next(tmp_path.glob('mini_voc_*/JPEGImages/v0.jpg'))
    code = code.replace('configs/iam-plus_mbv2_voc.py', 'tiny.py').replace('CHECKPOINT', 'tiny.pth')
    monkeypatch.chdir(tmp_path)
    exec(code.replace('IMAGE', str(image)), {})
    assert (tmp_path / 'outputs/vis/v0.jpg').is_file() and (tmp_path / 'outputs/preds/v0.json').is_file()
