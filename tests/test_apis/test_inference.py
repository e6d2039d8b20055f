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

from mmiam.apis import image_files, init_model

DEMO = Path(__file__).parents[2] / 'demo/image_demo.py'


@pytest.fixture
def folder(tmp_path):
    """Colour, grey and RGBA images of 20 x 30 pixels, and one that is none."""
    path = tmp_path / 'images'
    path.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(path / 'colour.jpg')
    Image.fromarray(pixels[..., 0]).save(path / 'grey.png')
    Image.fromarray(pixels).save(path / 'rgba.png')
    (path / 'broken.jpg').write_bytes(b'no image')
    return path


def test_inference_detector_on_grey_and_rgba(folder, tiny_config):
    model = init_model(tiny_config(), device='cpu')
    for name in ('colour.jpg', 'grey.png', 'rgba.png'):
        result = inference_detector(model, str(folder / name))
        assert result.pred_instances.masks.shape[1:] == (20, 30)
        assert result.pred_instances.masks.dtype == torch.bool


def test_image_demo_writes_the_rest_of_a_folder_with_a_broken_image(folder, tiny_config, tmp_path):
    tiny_config().dump(tmp_path / 'tiny.py')
    done = subprocess.run(
        [sys.executable, str(DEMO), str(folder), str(tmp_path / 'tiny.py'), '--out-dir', str(tmp_path / 'out'),
         '--device', 'cpu', '--score-thr', '0'], cwd=DEMO.parents[1], capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH='.', OMP_NUM_THREADS='1'), timeout=200)
    assert done.returncode == 1 and 'broken.jpg is not an image or is broken' in done.stderr, done.stderr[-3000:]
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert [Path(one['file_name']).name for one in content['images']] == ['colour.jpg', 'grey.png', 'rgba.png']
    assert all((tmp_path / 'out/vis' / name).is_file() for name in ('colour.jpg', 'grey.png', 'rgba.png'))


def test_image_files(folder, tmp_path):
    assert image_files(str(folder / 'grey.png')) == [str(folder / 'grey.png')]
    names = ['broken.jpg', 'colour.jpg', 'grey.png', 'rgba.png']
    assert [Path(path).name for path in image_files(str(folder))] == names
    (tmp_path / 'list.txt').write_text('images/grey.png\n\nimages/rgba.png\n')
    assert [Path(path).name for path in image_files(str(tmp_path / 'list.txt'))] == ['grey.png', 'rgba.png']
    (tmp_path / 'list.txt').write_text('images/none.png\n')
    with pytest.raises(FileNotFoundError, match='none.png does not exist'):
        image_files(str(tmp_path / 'list.txt'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='holds no image'):
        image_files(str(tmp_path / 'empty'))


def test_missing_config_or_checkpoint_is_named(tiny_config):
    with pytest.raises(FileNotFoundError, match='config none.py does not exist'):
        init_model('none.py')
    with pytest.raises(FileNotFoundError, match='checkpoint none.pth does not exist'):
        init_model(tiny_config(), 'none.pth')


@pytest.mark.parametrize('source, expected', [
    ('images/grey.png', ['grey.png']), ('list.txt', ['rgba.png', 'grey.png'])])
def test_image_demo_on_a_file_and_on_a_list(source, expected, folder, tiny_config, tmp_path):
    tiny_config().dump(tmp_path / 'tiny.py')
    (tmp_path / 'list.txt').write_text('images/rgba.png\nimages/grey.png\n')
    main = runpy.run_path(str(DEMO))['main']
    assert main([str(tmp_path / source), str(tmp_path / 'tiny.py'), '--out-dir', str(tmp_path / 'out'),
                 '--device', 'cpu', '--score-thr', '0']) == 0
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert [Path(one['file_name']).name for one in content['images']] == expected
    assert sorted(path.name for path in (tmp_path / 'out/vis').iterdir()) == sorted(expected)


def test_det_inferencer(folder, tiny_config, tmp_path):
    """mmdet's own inferencer gives what inference_detector gives, from a config file and a checkpoint."""
    cfg = tiny_config()
    cfg.model.post_processor.nms_iou = None
    cfg.dump(tmp_path / 'tiny.py')
    torch.manual_seed(0)
    model = init_model(cfg, device='cpu')
    checkpoint = tmp_path / 'tiny.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)), checkpoint)
    inferencer = DetInferencer(str(tmp_path / 'tiny.py'), str(checkpoint), device='cpu')
    path = str(folder / 'colour.jpg')
    found = inferencer(path, return_datasamples=True, no_save_vis=True)['predictions'][0].pred_instances
    expected = inference_detector(model, path).pred_instances
    assert len(expected) > 0
    assert torch.equal(found.masks, expected.masks) and torch.equal(found.labels, expected.labels)
    assert torch.allclose(found.scores, expected.scores)
