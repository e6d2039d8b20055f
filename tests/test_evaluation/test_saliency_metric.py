import math

import cv2
import numpy as np
import pytest
import torch

from mmiam.evaluation.functional.saliency import image_saliency, saliency_scores
from mmiam.utils.rle import encode_masks

METRIC = 'SaliencyMetric'
RNG = np.random.default_rng(0)
MAPS, MASKS, VOID = RNG.random((3, 6, 7)), RNG.random((3, 6, 7)) < .4, RNG.random((3, 6, 7)) < .2


def sample(index, **fields):
    given = dict(img_id=f'image{index}', ori_shape=(6, 7), saliency_mask=encode_masks(MASKS[index:index + 1])[0],
                 void_mask=encode_masks(VOID[index:index + 1])[0], pred_saliency=torch.from_numpy(MAPS[index]))
    return {**given, **fields}


@pytest.mark.parametrize('void', ['background', 'ignore'])
def test_figures_are_those_of_the_functions(evaluate, void):
    expected = saliency_scores([image_saliency(a, b, valid=None if void == 'background' else ~v)
                                for a, b, v in zip(MAPS, MASKS, VOID)]).metrics()
    assert evaluate([sample(i) for i in range(3)], void=void) == pytest.approx(expected)
    assert 0 < expected['F_mean'] < expected['F_max'] < 1


def test_field_and_prefix(evaluate):
    samples = [sample(i, pred_saliency=None, other=torch.from_numpy(MASKS[i]).float()) for i in range(3)]
    found = evaluate(samples, pred_field='other', prefix='PRM')
    assert found['PRM/F_max'] == found['PRM/F_adaptive'] == 1 and found['PRM/MAE'] == 0


def test_maps_are_written(evaluate, tmp_path):
    evaluate([sample(0, img_id='Butterfly/7'), sample(1)], save_dir=str(tmp_path))
    for name, values in (('Butterfly/7', MAPS[0]), ('image1', MAPS[1])):
        picture = cv2.imread(str(tmp_path / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        stretched = (values - values.min()) / (values.max() - values.min())
        assert picture.dtype == np.uint8 and np.abs(picture / 255 - stretched).max() <= .5 / 255 + 1e-9


def test_stages_without_maps_and_masks_without_foreground(evaluate, logged):
    without = [sample(i, pred_saliency=None) for i in range(2)]
    assert evaluate(without) == {} and 'no predictions (pred_saliency)' in logged[0]
    with pytest.raises(ValueError, match="1 of 2 images have no pred_saliency, the first 'image1'"):
        evaluate([sample(0), without[1]])
    evaluate([sample(0), sample(1, saliency_mask=encode_masks(np.zeros((1, 6, 7)))[0])])
    assert '1 of 2 masks have no foreground' in logged[-1]


@pytest.mark.parametrize('fields, message', [
    (dict(saliency_mask=None), 'image0.*LoadSaliencyMask'),
    (dict(pred_saliency=torch.zeros(3, 7)), r'image0.*\(3, 7\) pixels, the original image has \(6, 7\)'),
    (dict(pred_saliency=torch.full((6, 7), math.nan)), 'image0.*NaN')])
def test_errors_name_the_image(evaluate, fields, message):
    with pytest.raises(ValueError, match=message):
        evaluate([sample(0, **fields)])
    with pytest.raises(ValueError, match='void must be'):
        evaluate([], void='drop')
