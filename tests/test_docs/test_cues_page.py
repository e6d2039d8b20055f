"""What docs/cues.md shows, runs."""
import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

PAGE = (Path(__file__).parents[2] / 'docs/cues.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, flags=re.DOTALL)


def block(word):
    found, = [one for one in BLOCKS if word in one]
    return found


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


def test_the_cue_of_ones_own(network):
    try:
        exec(block('class BorderContrastCue'), {})
        model = network(dict(type='BorderContrastCue'))
    finally:
        MODELS.module_dict.pop('BorderContrastCue', None)
    images = torch.full((2, 3, 32, 48), 100.)
    images[0, 0, 8:12, 20:30] = 200.
    sizes = [(32, 48), (24, 40)]
    samples = [DetDataSample(metainfo=dict(img_path='a', img_shape=size, ori_shape=size)) for size in sizes]
    normalized = (images - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        feats, scores, (first, second) = model.cue(model, normalized, samples)
    assert len(feats) == 4 and scores is None
    expected = torch.zeros(32, 48)
    expected[8:12, 20:30] = 100 - 1
    torch.testing.assert_close(first.maps, expected[None], rtol=1e-4, atol=1e-3)
    assert first.peaks.tolist() == [[8, 20]] and len(second) == 0 and second.maps.shape == (0, 32, 48)
    with torch.no_grad():
        results = model.predict(normalized, samples)
    assert len(results[0].pred_instances) == 1 and len(results[1].pred_instances) == 0


def test_the_imagenet_cue_builds(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {}
    exec(block("type='ClassifierCue'"), content)
    model = network(content['cue'])
    cue = model.cue
    assert cue.classifier.head.num_classes == 1001 and cue.classifier.head.ignore == (0, )
    with pytest.raises(FileNotFoundError, match='weights/mobilenet_v2_imagenet_fc1001.pth'):
        cue(model, torch.zeros(1, 3, 32, 32), [DetDataSample(metainfo=dict(img_shape=(32, 32)))])


def test_the_page_of_prompts(tiny_config, tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image

    import mmiam.apis
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 220, 3), dtype=np.uint8)).save(tmp_path / 'a.png')
    real = mmiam.apis.init_model
    monkeypatch.setattr(mmiam.apis, 'init_model', lambda config, checkpoint: real(tiny_config(), device='cpu'))
    content = {}
    exec(block('PromptSession').replace("'IMAGE'", repr(str(tmp_path / 'a.png'))), content)
    assert content['found'].masks.shape[1:] == (160, 220) and 'prompt_index' in content['found']
