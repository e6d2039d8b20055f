import math

import pytest
import torch

from mmiam.evaluation.metrics import LocalizationMetric


def sample(img_id='1', label=0, box=(0, 0, 10, 20), true=((0, (0, 0, 10, 20)), ), scores=(.5, ), **extra):
    count = len(scores)
    maps = torch.zeros(count, 20, 10)
    maps[:, 10:, :] = 1.
    return dict(
        img_id=img_id, img_path=f'images/a/{img_id}.jpg', ori_shape=(40, 20),
        instances=[dict(bbox=list(b), bbox_label=k, ignore_flag=0) for k, b in true],
        pred_instances=dict(labels=torch.full((count, ), label), scores=torch.tensor(scores).view(-1),
                            bboxes=torch.tensor([box] * count).view(-1, 4).float(), score_maps=maps)) | extra


def evaluate(samples, **kwargs):
    metric = LocalizationMetric(**kwargs)
    metric.dataset_meta = dict(classes=('auk', 'crow'))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_by_hand():
    """Right; wrong class; wrong box; nothing found. The map's box is the lower half, (0, 20, 20, 40)."""
    lower = ((0, (0, 20, 20, 40)), )
    figures = evaluate([sample(), sample('2', label=1), sample('3', true=lower), sample('4', scores=())], map_size=None)
    assert figures == dict(loc_err=75., gt_known_err=50., cls_err=50., wsol_loc_err=75., wsol_gt_known_err=75.,
                           wsol_thr=0.)


def test_resized_maps_lie_over_the_image():
    figures = evaluate([sample(true=((0, (0, 20, 20, 40)), ))], map_size=40)
    assert figures['wsol_gt_known_err'] == 0 and figures['gt_known_err'] == 100


def test_the_highest_score_counts():
    one = sample(scores=(.2, .9))
    one['pred_instances']['bboxes'][0] = torch.tensor([15., 30, 20, 40])
    assert evaluate([one])['loc_err'] == 0
    one['pred_instances']['scores'] = torch.tensor([.9, .2])
    assert evaluate([one])['loc_err'] == 100


def test_classes_from_a_file_or_unknown(tmp_path, monkeypatch):
    (tmp_path / 'predictions.csv').write_text('image,class\n1,auk\na/2,crow\n')
    source = str(tmp_path / 'predictions.csv')
    samples = [sample(label=7), sample('2', label=7), ]
    figures = evaluate(samples, class_source=source, map_key=None)
    assert figures == dict(loc_err=50., gt_known_err=0., cls_err=50.)
    unknown = evaluate(samples, class_source='unknown')
    assert math.isnan(unknown['loc_err']) and math.isnan(unknown['cls_err']) and unknown['gt_known_err'] == 0
    assert math.isnan(unknown['wsol_loc_err']) and unknown['wsol_gt_known_err'] == 100
    with pytest.raises(ValueError, match=r"image '3' \(images/a/3.jpg\): .*predictions.csv has no prediction"):
        evaluate([sample('3')], class_source=source)
    with pytest.raises(FileNotFoundError, match='none.json'):
        evaluate(samples, class_source=str(tmp_path / 'none.json'))


@pytest.mark.parametrize('change, message', [
    (dict(instances=[]), "image '1' .*no ground truth"), (dict(pred_instances=None), 'no pred_instances')])
def test_what_is_missing_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate([sample() | change])
    one = sample()
    del one['pred_instances']['score_maps']
    with pytest.raises(ValueError, match="no 'score_maps'"):
        evaluate([one])
    with pytest.raises(ValueError, match='iou_thr must lie'):
        LocalizationMetric(iou_thr=1.)
