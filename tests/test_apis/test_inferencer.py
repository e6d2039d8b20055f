"""IAMInferencer beside inference_detector and DetInferencer's conventions."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector

from mmiam.apis import IAMInferencer


@pytest.fixture
def files(tiny_files, tmp_path):
    """Config and checkpoint of a random network, and a folder with two images."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for name in ('a.jpg', 'b.jpg'):
        cv2.imwrite(str(tmp_path / 'images' / name), rng.integers(0, 255, (40, 56, 3), dtype=np.uint8))
    return *tiny_files, tmp_path / 'images'


def test_a_folder_gives_files_as_in_mmdet(files, tmp_path):
    config, weights, images = files
    inferencer = IAMInferencer(config, weights, device='cpu', show_progress=False)
    result = inferencer(str(images), out_dir=str(tmp_path / 'out'), no_save_pred=False, pred_score_thr=0., batch_size=2)
    assert len(result['predictions']) == 2 and {'masks', 'bboxes', 'labels', 'scores'} <= set(result['predictions'][0])
    for name in ('a', 'b'):
        stored = json.loads((tmp_path / f'out/preds/{name}.json').read_text())
        expected = inference_detector(inferencer.model, str(images / f'{name}.jpg')).pred_instances
        assert stored['labels'] == expected.labels.tolist() and len(expected)
        assert stored['masks'][0]['size'] == [40, 56]
        assert cv2.imread(str(tmp_path / f'out/vis/{name}.jpg')).shape == (40, 56, 3)


def test_maps_ride_along_and_are_drawn(files):
    config, weights, images = files
    inferencer = IAMInferencer(config, weights, device='cpu', maps=True, show_progress=False)
    array = cv2.imread(str(images / 'a.jpg'))
    result = inferencer(array, return_datasamples=True, return_vis=True, pred_score_thr=0.)
    found = result['predictions'][0].pred_instances
    for name in ('cams', 'prms', 'iams'):
        assert found[name].shape == (len(found), 64, 64) and len(found)
    assert found.iams.max() <= 1 and found.iams.min() >= 0
    picture, = result['visualization']
    assert picture.shape[1] > 5 * 256 and picture.shape[0] > 256  # image, CAM, PRM, IAM, masks
    plain = IAMInferencer(config, weights, device='cpu', show_progress=False)(array, return_datasamples=True)
    assert 'prms' not in plain['predictions'][0].pred_instances
    assert torch.equal(plain['predictions'][0].pred_instances.masks, found.masks)


@pytest.mark.parametrize('bare', [False, True], ids=['no weights', 'bare weights'])
def test_class_names_that_no_checkpoint_says_are_the_configs(bare, files, tmp_path):
    weights = str(tmp_path / 'bare.pth') if bare else None
    if bare:
        torch.save(dict(state_dict=torch.load(files[1], weights_only=True)['state_dict']), weights)
    inferencer = IAMInferencer(files[0], weights, device='cpu', show_progress=False)
    assert inferencer.model.dataset_meta['classes'] == ('cat', 'dog', 'person')
    assert inferencer.visualizer.dataset_meta['classes'] == ('cat', 'dog', 'person')


def test_what_it_does_not_take(files, hostile):
    with pytest.raises(FileNotFoundError, match='config nowhere.py does not exist'):
        IAMInferencer('nowhere.py')
    with pytest.raises(FileNotFoundError, match='checkpoint nowhere.pth does not exist'):
        IAMInferencer(files[0], 'nowhere.pth')
    with pytest.raises(ValueError, match='name the config'):
        IAMInferencer(None, str(hostile))
    with pytest.raises(ValueError, match='nothing in it was run'):
        IAMInferencer(files[0], str(hostile))


def test_equal_names_and_pixels_that_are_no_numbers(files, tmp_path):
    config, weights, images = files
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'a.jpg').write_bytes((images / 'b.jpg').read_bytes())
    inferencer = IAMInferencer(config, weights, device='cpu', show_progress=False)
    paths = [str(images / 'a.jpg'), str(other / 'a.jpg')]
    inferencer(paths, out_dir=str(tmp_path / 'out'), no_save_pred=False, pred_score_thr=0., batch_size=2)
    written = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.*'))
    assert written == ['images/preds/a.json', 'images/vis/a.jpg', 'other/preds/a.json', 'other/vis/a.jpg']
    with pytest.raises(ValueError, match='image 1 of 2: an image has finite numbers from 0 to 255, got nan to nan'):
        inferencer([np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), np.nan, np.float32)])
