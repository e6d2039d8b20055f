import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector
from PIL import Image

from mmiam.apis import init_model, predict_files
from mmiam.apis.inference import output_names

DEMO = Path(__file__).parents[2] / 'demo/image_demo.py'


@pytest.fixture
def folder(tmp_path):
    """Color, gray and RGBA images of 20 x 30 pixels, and one that is none."""
    path = tmp_path / 'images'
    path.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(path / 'color.jpg')
    Image.fromarray(pixels[..., 0]).save(path / 'gray.png')
    Image.fromarray(pixels).save(path / 'rgba.png')
    (path / 'broken.jpg').write_bytes(b'no image')
    return path


def test_image_demo_writes_the_rest_of_a_folder_with_a_broken_image(folder, tiny_config, tmp_path):
    tiny_config().dump(tmp_path / 'tiny.py')
    done = subprocess.run(
        [sys.executable, str(DEMO), str(folder), str(tmp_path / 'tiny.py'), '--out-dir', str(tmp_path / 'out'),
         '--device', 'cpu', '--min-score', '0', '--random'], cwd=DEMO.parents[1], capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH='.', OMP_NUM_THREADS='1'), timeout=200)
    assert done.returncode == 1 and 'broken.jpg is not an image that can be read' in done.stderr, done.stderr[-3000:]
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert [Path(one['file_name']).name for one in content['images']] == ['color.jpg', 'gray.png', 'rgba.png']
    assert all((tmp_path / 'out/vis' / name).is_file() for name in ('color.jpg', 'gray.png', 'rgba.png'))


def test_image_demo_draws_no_random_masks_unasked(folder, tiny_config, tmp_path, capsys):
    tiny_config().dump(tmp_path / 'tiny.py')
    main = runpy.run_path(str(DEMO))['main']
    assert main([str(folder / 'rgba.png'), str(tmp_path / 'tiny.py'), '--out-dir', str(tmp_path / 'out')]) == 2
    assert 'no weights are published' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_det_inferencer(folder, tiny_files):
    """mmdet's own inferencer gives what inference_detector gives, from a config file and a checkpoint."""
    model, inferencer = init_model(*tiny_files, 'cpu'), DetInferencer(*tiny_files, device='cpu')
    path = str(folder / 'color.jpg')
    found = inferencer(path, return_datasamples=True, no_save_vis=True)['predictions'][0].pred_instances
    expected = inference_detector(model, path).pred_instances
    assert len(expected) > 0
    assert torch.equal(found.masks, expected.masks) and torch.equal(found.labels, expected.labels)
    assert torch.allclose(found.scores, expected.scores)


def test_weights_that_do_not_fit_are_refused(tiny_config, tmp_path):
    """mmdet loads what fits, and the rest stays random with a line in the log."""
    cfg = tiny_config()
    state = init_model(cfg, device='cpu').state_dict()
    backbone = {key: value for key, value in state.items() if key.startswith('backbone')}
    broken = {key: value * float('nan') if key.endswith('layers.0.weight') else value for key, value in state.items()}
    for content, message in ((backbone, 'a.pth .*lacks .*peak_head.classifier.weight'),
                             (broken, 'a.pth: .* infinite or no numbers, the first is filler')):
        torch.save(dict(state_dict=content), tmp_path / 'a.pth')
        with pytest.raises(ValueError, match=message):
            init_model(cfg, str(tmp_path / 'a.pth'), 'cpu')


def test_class_scores_in_the_order_of_the_data_set(tiny_files, monkeypatch):
    lines = []
    monkeypatch.setattr('mmiam.apis.inference.print_log', lambda text, **_: lines.append(text))
    model = init_model(*tiny_files, 'cpu')
    other = init_model(*tiny_files, 'cpu', classes=('person', 'cat', 'dog'))
    assert other.dataset_meta['classes'] == ('person', 'cat', 'dog') and 'reordered' in lines[0]
    assert torch.equal(other.peak_head.classifier.weight, model.peak_head.classifier.weight[[2, 0, 1]])
    with pytest.raises(ValueError, match='tiny.pth knows the classes cat, dog, person, the data set cat, owl'):
        init_model(*tiny_files, 'cpu', classes=('cat', 'owl', 'person'))


def test_names_of_what_is_written(tmp_path):
    def names(*paths):
        return output_names([str(tmp_path / path) for path in paths])
    assert names('a/1.jpg', 'b/2.jpg') == ['1.jpg', '2.jpg']
    assert names('a/1.jpg', 'b/1.jpg', 'b/c/2.jpg') == ['a/1.jpg', 'b/1.jpg', 'b/c/2.jpg']
    assert names('a/1.jpg', 'a/1.png') == ['1_jpg.jpg', '1_png.png']
    assert names('a/1.jpg', 'a/1.jpg') == ['1.jpg', '1.jpg']


def test_an_image_whose_scores_are_no_numbers_is_said(folder, tiny_config, monkeypatch):
    model = init_model(tiny_config(), device='cpu')
    real = model.test_step

    def step(data):
        found = real(data)
        found[0].pred_class_scores[0] = float('nan')
        return found
    monkeypatch.setattr(model, 'test_step', step)
    with pytest.warns(UserWarning, match='gray.png: the scores are NaN'):
        assert list(predict_files(model, [str(folder / 'gray.png')])) == [(str(folder / 'gray.png'), None)]
