"""IAMInferencer beside inference_detector and DetInferencer's conventions."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector

from mmiam.apis import IAMInferencer


@pytest.fixture
def make(tiny_files):
    """``make(weights=..., kind=IAMInferencer, **settings)``, on the CPU."""
    def make(weights=tiny_files[1], kind=IAMInferencer, **settings):
        return kind(tiny_files[0], weights, device='cpu', show_progress=False, **settings)
    return make


@pytest.mark.parametrize('kind', [IAMInferencer, DetInferencer])
def test_images_give_files_as_in_mmdet(kind, make, model, folder, tmp_path):
    paths = [str(folder / name) for name in ('color.jpg', 'gray.png')]
    result = make(kind=kind)(paths, out_dir=str(tmp_path / 'out'), no_save_pred=False, pred_score_thr=0., batch_size=2)
    assert len(result['predictions']) == 2 and {'masks', 'bboxes', 'labels', 'scores'} <= set(result['predictions'][0])
    for path, name in zip(paths, ('color', 'gray')):
        stored = json.loads((tmp_path / f'out/preds/{name}.json').read_text())
        expected = inference_detector(model, path).pred_instances
        assert stored['labels'] == expected.labels.tolist() and len(expected)
        assert stored['scores'] == pytest.approx(expected.scores.tolist()) and stored['masks'][0]['size'] == [20, 30]
    assert cv2.imread(str(tmp_path / 'out/vis/color.jpg')).shape == (20, 30, 3)


def test_maps_ride_along_and_are_drawn(make, model, folder):
    array = cv2.imread(str(folder / 'color.jpg'))
    result = make(maps=True)(array, return_datasamples=True, return_vis=True, pred_score_thr=0.)
    found = result['predictions'][0].pred_instances
    for name in ('cams', 'prms', 'iams'):
        assert found[name].shape == (len(found), 64, 64) and len(found)
    assert found.iams.max() <= 1 and found.iams.min() >= 0
    picture, = result['visualization']
    assert picture.shape[1] > 5 * 256 and picture.shape[0] > 256  # image, CAM, PRM, IAM, masks
    plain = inference_detector(model, array).pred_instances
    assert 'prms' not in plain and torch.equal(plain.masks, found.masks)


@pytest.mark.parametrize('bare', [False, True], ids=['no weights', 'bare weights'])
def test_class_names_that_no_checkpoint_says_are_the_configs(bare, make, model, tmp_path):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'bare.pth')
    inferencer = make(str(tmp_path / 'bare.pth') if bare else None)
    assert inferencer.model.dataset_meta['classes'] == ('cat', 'dog', 'person')
    assert inferencer.visualizer.dataset_meta['classes'] == ('cat', 'dog', 'person')


def test_scores_that_are_no_numbers_name_the_image(make, folder):
    inferencer = make()
    inferencer.model.peak_head.classifier.bias.data.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='gray.png: the scores are NaN'):
        inferencer(str(folder / 'gray.png'))


def test_what_it_does_not_take(make, hostile):
    with pytest.raises(FileNotFoundError, match='config nowhere.py does not exist'):
        IAMInferencer('nowhere.py')
    with pytest.raises(FileNotFoundError, match='checkpoint nowhere.pth does not exist'):
        make('nowhere.pth')
    with pytest.raises(ValueError, match='name the config'):
        IAMInferencer(None, str(hostile))
    with pytest.raises(ValueError, match='nothing in it was run'):
        make(str(hostile))


def test_equal_names_and_pixels_that_are_no_numbers(make, folder, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'color.jpg').write_bytes((folder / 'color.jpg').read_bytes())
    inferencer = make()
    inferencer([str(folder / 'color.jpg'), str(other / 'color.jpg')], out_dir=str(tmp_path / 'out'), no_save_pred=False)
    written = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.*'))
    assert written == [f'{one}/{name}' for one in ('images', 'other') for name in ('preds/color.json', 'vis/color.jpg')]
    with pytest.raises(ValueError, match='image 1 of 2: an image has finite numbers from 0 to 255, got nan to nan'):
        inferencer([np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), np.nan, np.float32)])
