import math

import pytest
import torch
from mmdet.registry import METRICS


def evaluate(samples, **kwargs):
    metric = METRICS.build(dict(type='ImageLabelMetric', **kwargs))
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def sample(scores, labels):
    return dict(img_id='a', pred_class_scores=torch.tensor(scores), image_labels=labels)


SAMPLES = [sample([.9, .9], [0]), sample([.8, .1], []), sample([.7, .2], [0, 1])]


def test_percent_by_hand():
    # cat: + - + -> (1 + 2/3) / 2; dog: second of three -> 1/2
    assert evaluate(SAMPLES, min_positives=1) == dict(cls_mAP=pytest.approx(100 * (5 / 6 + 1 / 2) / 2))
    assert evaluate(SAMPLES, min_positives=2, prefix='val') == {'val/cls_mAP': pytest.approx(100 * 5 / 6)}


def test_too_few_positives_is_nan_with_a_reason(logged):
    assert math.isnan(evaluate(SAMPLES)['cls_mAP'])
    assert 'no class has 5 positive images' in logged[0] and '(83.3)' in logged[1]


@pytest.mark.parametrize('key', ['pred_class_scores', 'image_labels'])
def test_missing_key_is_named(key):
    with pytest.raises(ValueError, match=f"image 'a' .*no '{key}'"):
        evaluate([dict(SAMPLES[0], **{key: None})])


def test_wrong_number_of_scores():
    with pytest.raises(ValueError, match='3 entries, the data set 2 classes'):
        evaluate([sample([.1, .2, .3], [0])])
