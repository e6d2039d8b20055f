import math

import pytest
import torch

METRIC = 'ImageLabelMetric'


def sample(scores, labels):
    return dict(img_id='a', pred_class_scores=torch.tensor(scores), image_labels=labels)


SAMPLES = [sample([.9, .9, .1], [0]), sample([.8, .1, .1], []), sample([.7, .2, .1], [0, 1])]


def test_percent_by_hand(evaluate):
    # cat: + - + -> (1 + 2/3) / 2; dog: second of three -> 1/2
    assert evaluate(SAMPLES, min_positives=1) == dict(cls_mAP=pytest.approx(100 * (5 / 6 + 1 / 2) / 2))
    assert evaluate(SAMPLES, min_positives=2, prefix='val') == {'val/cls_mAP': pytest.approx(100 * 5 / 6)}


def test_too_few_positives_is_nan_with_a_reason(evaluate, logged):
    assert math.isnan(evaluate(SAMPLES)['cls_mAP'])
    assert 'no class has 5 positive images' in logged[0] and '(83.3)' in logged[1]


@pytest.mark.parametrize('changed, message', [
    (dict(SAMPLES[0], pred_class_scores=None), "image 'a' .*no 'pred_class_scores'"),
    (dict(SAMPLES[0], image_labels=None), "image 'a' .*no 'image_labels'"),
    (sample([.1, .2], [0]), '2 entries, the data set 3 classes')])
def test_bad_samples(evaluate, changed, message):
    with pytest.raises(ValueError, match=message):
        evaluate([changed])
