"""The statistics on mini_voc: figures, pictures, errors; arrows by hand."""
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / 'tools/analysis_tools/analyze_extent.py'), run_name='analyze_extent')


@pytest.fixture
def arguments(tiny_config, tmp_path):
    cfg = tiny_config()
    cfg.model.peak_head.class_thr = -50.
    cfg.dump(tmp_path / 'tiny.py')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'tiny.pth')
    return [str(tmp_path / 'tiny.py'), str(tmp_path / 'tiny.pth'), '--device', 'cpu', '--out', str(tmp_path / 'out')]


def test_figures_and_pictures(arguments, tmp_path, capsys):
    assert tool['main']([*arguments, '--arrows', '1', '--cell', '7']) == 0
    out, printed = tmp_path / 'out', capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        'classes_instance.png', 'classes_map.png', 'density_instance.png', 'density_map.png', 'extent.json',
        'weights_v0.png']
    content = json.loads((out / 'extent.json').read_text())
    assert content['num_images'] == 2 and set(content['methods']) == {'CAM', 'PRM', 'IAM'}
    for name, views in content['methods'].items():
        assert views['instance']['number'] == 3  # a dog; a cat and a person
        samples = views['instance']['samples']
        assert samples['label'] == [1, 0, 2]
        # without their void border of a pixel the boxes are 14 x 14, 9 x 8 and 10 x 17 of 24 x 32
        assert samples['size'] == pytest.approx([196 / 768, 72 / 768, 170 / 768], abs=1e-6)
        assert views['instance']['mean'] == pytest.approx(np.mean(samples['iou']), abs=1e-6)
        assert all(0 <= value <= 1 for value in views['map']['samples']['iou'])
        assert views['map']['number'] > 0 and name in printed
        assert list(views['map']['by_class']) == ['cat', 'dog', 'person']
    assert content['methods']['PRM']['map']['number'] == content['methods']['IAM']['map']['number']
    assert content['methods']['CAM']['map']['number'] == 6  # three classes in each image
    for path in out.glob('*.png'):
        assert cv2.imread(str(path)) is not None
    side = 64 // 4 - 2  # the grid of filling without its rim
    assert cv2.imread(str(out / 'weights_v0.png')).shape == (side * 7, side * 7, 3)


def test_void_and_number_of_images(arguments, tmp_path):
    results = {}
    for void in ('background', 'ignore'):
        assert tool['main']([*arguments, '--arrows', '0', '--num', '1', '--void', void]) == 0
        results[void] = json.loads((tmp_path / 'out/extent.json').read_text())
        assert results[void]['num_images'] == 1 and results[void]['void'] == void
    ious = {void: result['methods']['CAM']['map']['samples']['iou'] for void, result in results.items()}
    assert ious['ignore'] != ious['background']
    assert all(a <= b + 1e-9 for a, b in zip(ious['background'], ious['ignore']))
    assert not (tmp_path / 'out/weights_v0.png').exists()


def test_model_without_filler(arguments, tmp_path):
    text = Path(arguments[0]).read_text()
    Path(arguments[0]).write_text(text + "\nmodel['filler'] = None\nmodel['post_processor'] = "
                                  "dict(type='ClassMapThreshold')\n")
    assert tool['main']([*arguments, '--arrows', '1']) == 0
    assert set(json.loads((tmp_path / 'out/extent.json').read_text())['methods']) == {'CAM', 'PRM'}


def test_errors_are_sentences(arguments, capsys):
    assert tool['main']([arguments[0], 'none.pth']) == 2 and 'none.pth does not exist' in capsys.readouterr().err
    text = Path(arguments[0]).read_text()
    Path(arguments[0]).write_text(text + "\ndel test_dataloader['dataset']['pipeline'][2]\n")
    assert tool['main'](arguments) == 2 and 'LoadVOCInstances' in capsys.readouterr().err


def test_arrows_without_rim():
    """A rim of large weights does not change what is drawn; the inner field is."""
    rng = np.random.default_rng(0)
    weights = rng.random((2, 9, 8, 10))
    image = np.zeros((80, 100, 3), np.uint8)
    drawn = tool['draw_inner_field'](image, weights, 1, 5)
    assert drawn.shape == (6 * 5, 8 * 5, 3) and drawn.any()
    loud = weights.copy()
    loud[..., [0, -1], :] *= 100
    loud[..., [0, -1]] *= 100
    assert np.array_equal(tool['draw_inner_field'](image, loud, 1, 5), drawn)
    assert tool['draw_inner_field'](image, weights[..., :2, :2], 1, 5).shape == (10, 10, 3)
    assert not tool['draw_inner_field'](image, np.ones((2, 9, 8, 10)), 1, 5).any()  # all alike: no arrow
