"""What docs/method.md quotes is in the package, and what other pages show, runs."""
import re

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS, MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image
from support import ROOT

import mmiam.apis
from mmiam.proposals.io import READERS, find_proposal_file, load_proposals


def blocks(page):
    return re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / page).read_text(encoding='utf-8'), flags=re.DOTALL)


def run_block(page, word, replace=()):
    """Run the one block of a page that has a word, some of its text replaced; what it defines."""
    code, = [block for block in blocks(page) if word in block]
    for old, new in replace:
        assert old in code
        code = code.replace(old, new)
    content = {'__name__': 'page'}
    exec(code, content)
    return content


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What a page registers is taken back."""
    for registry in (MODELS, METRICS):
        monkeypatch.setattr(registry, '_module_dict', registry.module_dict.copy())
    kept = READERS.copy()
    yield
    READERS.clear()
    READERS.update(kept)


@pytest.fixture
def network(tiny_config):
    """``network(cue)`` -> a tiny IAMNet without classifier of its own."""

    def make(cue):
        cfg = tiny_config().model
        cfg.update(peak_head=None)
        cfg.cue = cue
        torch.manual_seed(0)
        model = MODELS.build(cfg).eval()
        model.filler.decoder.layers[-1].bias.data.fill_(2.)
        return model

    return make


@pytest.mark.parametrize('quote', blocks('method.md'), ids=range(len(blocks('method.md'))))
def test_quotes_are_the_code(quote):
    first, rest = quote.split('\n', 1)
    assert rest in (ROOT / first.removeprefix('# ')).read_text(encoding='utf-8')


def test_cue_of_ones_own(network):
    run_block('cues.md', 'class BorderContrastCue')
    model = network(dict(type='BorderContrastCue'))
    images = torch.full((2, 3, 32, 48), 100.)
    images[0, 0, 8:12, 20:30] = 200.
    sizes = [(32, 48), (24, 40)]
    samples = [DetDataSample(metainfo=dict(img_path='a', img_shape=size, ori_shape=size)) for size in sizes]
    normalized = (images - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        feats, scores, (first, second) = model.cue(model, normalized, samples)
        results = model.predict(normalized, samples)
    assert len(feats) == 4 and scores is None
    expected = torch.zeros(32, 48)
    expected[8:12, 20:30] = 100 - 1
    torch.testing.assert_close(first.maps, expected[None], rtol=1e-4, atol=1e-3)
    assert first.peaks.tolist() == [[8, 20]] and len(second) == 0 and second.maps.shape == (0, 32, 48)
    assert [len(result.pred_instances) for result in results] == [1, 0]


def test_imagenet_cue(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = network(run_block('cues.md', "type='ClassifierCue'")['cue'])
    assert model.cue.classifier.head.num_classes == 1001 and model.cue.classifier.head.ignore == (0, )
    with pytest.raises(FileNotFoundError, match='weights/mobilenet_v2_imagenet_fc1001.pth'):
        model.cue(model, torch.zeros(1, 3, 32, 32), [DetDataSample(metainfo=dict(img_shape=(32, 32)))])


def test_prompts(tiny_config, tmp_path, monkeypatch):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 220, 3), dtype=np.uint8)).save(tmp_path / 'a.png')
    real = mmiam.apis.init_model
    monkeypatch.setattr(mmiam.apis, 'init_model', lambda config, checkpoint: real(tiny_config(), device='cpu'))
    found = run_block('cues.md', 'PromptSession', [("'IMAGE'", repr(str(tmp_path / 'a.png')))])['found']
    assert found.masks.shape[1:] == (160, 220) and 'prompt_index' in found


def test_post_processor_of_ones_own():
    run_block('extending.md', 'class RelativeThreshold')
    step = MODELS.build(dict(type='RelativeThreshold', share=.5, nms_iou=None))
    maps = torch.tensor([[[.8, .5], [.3, .0]], [[.2, .2], [.09, .11]]])
    cues = InstanceData(labels=torch.tensor([0, 1]), class_scores=torch.zeros(2), iams=maps.logit(1e-6))
    found = step(cues, torch.zeros(3, 2, 2), None)
    assert found.masks.tolist() == [[[True, True], [False, False]], [[True, True], [False, True]]]
    assert found.scores.tolist() == pytest.approx([.5 * .65, .5 * .17], abs=1e-4)
    assert found.bboxes.tolist() == [[0, 0, 2, 1], [0, 0, 2, 2]]


def test_proposal_format_of_ones_own(tmp_path):
    (tmp_path / 'a.txt').write_text('1 0 3 2\n0 0 5 4\n')
    with pytest.raises(FileNotFoundError):
        find_proposal_file(tmp_path, 'a')
    run_block('extending.md', 'READERS')
    loaded = load_proposals(find_proposal_file(tmp_path, 'a'), size=(4, 5))
    with pytest.raises(ValueError, match='a.txt.*do not tell the size'):
        load_proposals(tmp_path / 'a.txt')
    expected = np.zeros((2, 4, 5), bool)
    expected[0, :2, 1:3], expected[1] = True, True
    assert (loaded.masks() == expected).all() and loaded.origin == 'boxes'


def test_metric_of_ones_own():
    run_block('extending.md', 'class CountError')
    metric = METRICS.build(dict(type='CountError', min_score=.4))
    scores = torch.tensor([.9, .4, .3])
    metric.process(None, [dict(pred_instances=dict(scores=scores[:found]), instances=[{}] * true)
                          for found, true in ((3, 1), (0, 2), (0, 0))])  # off by 1, 2 and 0
    assert metric.evaluate(3) == dict(count_error=1)


def test_inferencer(tiny_files, tmp_path, monkeypatch):
    image = next(tmp_path.glob('mini_voc_*/JPEGImages/v0.jpg'))
    monkeypatch.chdir(tmp_path)
    run_block('getting_started.md', 'import IAMInferencer', [
        ('configs/iam-plus_mbv2_voc.py', 'tiny.py'), ('CHECKPOINT', 'tiny.pth'), ('IMAGE', str(image))])
    assert (tmp_path / 'outputs/vis/v0.jpg').is_file() and (tmp_path / 'outputs/preds/v0.json').is_file()
