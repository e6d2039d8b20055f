"""Other methods' rows of Tables 3 and 4 by ``tools/test.py``: their files, no network and no checkpoint."""
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from PIL import Image
from support import ROOT, build_mini_cub

from mmiam.models.baselines import PrecomputedPredictions, SavedSaliencyMap

LAYOUTS = {'ecssd': ('ECSSD_ROOT', 'images/0001.jpg', 'ground_truth_mask/0001.png', '0001.png'),
           'msra-b': ('MSRA_B_ROOT', 'Imgs/0_0_272.jpg', 'Imgs/0_0_272.png', '0_0_272.png'),
           'thur': ('THUR_ROOT', 'Giraffe/Src/7.jpg', 'Giraffe/Src/7.png', 'Giraffe/7.png')}


@pytest.fixture
def run(run_test_tool, monkeypatch, tmp_path):
    """``run(config, **environment)`` -> figures."""
    monkeypatch.chdir(tmp_path)

    def run(config, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        run_test_tool(ROOT / 'configs' / config, '--work-dir', 'work', '--cfg-options',
                      'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False')
        return json.loads(sorted((tmp_path / 'work').rglob('2*.json'))[-1].read_text())

    return run


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_boxes(run, tmp_path):
    """Two test images: the first box is the true one, of the other image the better score has the worse box."""
    boxes = [dict(image_id='1', score=.5, bbox=[3., 2., 23.5, 12.]), dict(image_id='3', score=.2, bbox=[0, 0, 32, 24]),
             dict(image_id='3', score=.9, bbox=[0, 0, 8, 8])]
    (tmp_path / 'boxes.json').write_text(json.dumps(dict(detections=boxes)))
    (tmp_path / 'classes.csv').write_text('image,class\n1,Laysan_Albatross\n3,Laysan_Albatross\n')
    files = dict(CUB_ROOT=build_mini_cub(tmp_path / 'CUB'), CUB_BOXES=tmp_path / 'boxes.json')
    figures = run('given/boxes_cub-loc.py', **files, CUB_CLASSES=tmp_path / 'classes.csv')
    assert (figures['gt_known_err'], figures['cls_err'], figures['loc_err']) == (50, 50, 100)
    boxes[1]['score'] = 1.
    (tmp_path / 'boxes.json').write_text(json.dumps(dict(detections=boxes[:2])))
    figures = run('given/boxes_cub-loc.py', **files, CUB_CLASSES=tmp_path / 'classes.csv')
    assert (figures['gt_known_err'], figures['cls_err'], figures['loc_err']) == (0, 50, 50)


@pytest.mark.parametrize('name', LAYOUTS)
def test_maps(run, tmp_path, name):
    """A map of 1 in the mask's upper half, .2 below, 0 outside: 200 of 400 pixels, MAE (100 * .8) / 1200."""
    variable, image, mask, written = LAYOUTS[name]
    truth, given = np.zeros((2, 30, 40), np.uint8)
    truth[10:20, 10:30] = 255
    given[10:15, 10:30], given[15:20, 10:30] = 255, 51
    save(tmp_path / 'data' / image, np.zeros((30, 40, 3), np.uint8))
    save(tmp_path / 'data' / mask, truth)
    save(tmp_path / 'maps' / written, given)
    files = {variable: tmp_path / 'data', 'SALIENCY_MAPS': tmp_path / 'maps'}
    figures = run(f'given/maps_saliency_{name}.py', **files)
    assert figures['F_max'] == pytest.approx(1) and figures['MAE'] == pytest.approx(80 / 1200)
    save(tmp_path / 'maps' / written, given[:20])
    with pytest.raises(RuntimeError, match=r'maps.*\.png has \(20, 40\) pixels, its image \(30, 40\)'):
        run(f'given/maps_saliency_{name}.py', **files)
    (tmp_path / 'maps' / written).unlink()
    with pytest.raises(RuntimeError, match=r'saliency map .*\.png does not exist'):
        run(f'given/maps_saliency_{name}.py', **files)


def test_a_network_wants_its_checkpoint(run_test_tool, tiny_config, mini_voc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_config(mini_voc()).dump('tiny.py')
    with pytest.raises(RuntimeError, match='this model has parameters; give the checkpoint'):
        run_test_tool('tiny.py', '--work-dir', 'work')


def test_a_map_is_gray_over_255(tmp_path):
    save(tmp_path / 'a.png', np.array([[0, 51, 255]], np.uint8))
    sample = DetDataSample(metainfo=dict(img_id='a'))
    image = torch.zeros(3, 1, 3)
    found = SavedSaliencyMap(str(tmp_path))(PrecomputedPredictions.no_cues(image), image, sample)
    assert len(found) == 0
    torch.testing.assert_close(sample.pred_saliency, torch.tensor([[0., .2, 1.]]))
