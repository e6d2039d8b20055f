import math

import pytest
import torch

METRIC = 'LocalizationMetric'


def sample(img_id='1', label=0, box=(0, 0, 10, 20), true=((0, (0, 0, 10, 20)), ), scores=(.5, ), **extra):
    count = len(scores)
    maps = torch.zeros(count, 20, 10)
    maps[:, 10:, :] = 1.
    return dict(
        img_id=img_id, img_path=f'images/a/{img_id}.jpg', ori_shape=(40, 20),
        instances=[dict(bbox=list(b), bbox_label=k, ignore_flag=0) for k, b in true],
        pred_instances=dict(labels=torch.full((count, ), label), scores=torch.tensor(scores).view(-1),
                            bboxes=torch.tensor([box] * count).view(-1, 4).float(), score_maps=maps)) | extra


def test_by_hand(evaluate):
    """Right; wrong class; wrong box; nothing found. The map's box is the lower half, (0, 20, 20, 40)."""
    lower = ((0, (0, 20, 20, 40)), )
    figures = evaluate([sample(), sample('2', label=1), sample('3', true=lower), sample('4', scores=())], map_size=None)
    assert figures == dict(loc_err=75., gt_known_err=50., cls_err=50., wsol_loc_err=75., wsol_gt_known_err=75.,
                           wsol_thr=0.)
    figures = evaluate([sample(true=lower)], map_size=40)  # a resized map lies over the image
    assert figures['wsol_gt_known_err'] == 0 and figures['gt_known_err'] == 100


@pytest.mark.parametrize('scores, error', [((.2, .9), 0), ((.9, .2), 100)])
def test_the_highest_score_counts(evaluate, scores, error):
    one = sample(scores=scores)
    one['pred_instances']['bboxes'][0] = torch.tensor([15., 30, 20, 40])
    assert evaluate([one])['loc_err'] == error


def test_classes_from_a_file_or_unknown(evaluate, tmp_path):
    (tmp_path / 'predictions.csv').write_text('image,class\n1,cat\na/2,dog\n')
    source = str(tmp_path / 'predictions.csv')
    samples = [sample(label=7), sample('2', label=7)]
    figures = evaluate(samples, class_source=source, map_key=None)
    assert figures == dict(loc_err=50., gt_known_err=0., cls_err=50.)
    unknown = evaluate(samples, class_source='unknown')
    assert all(math.isnan(unknown[key]) for key in ('loc_err', 'cls_err', 'wsol_loc_err'))
    assert unknown['gt_known_err'] == 0 and unknown['wsol_gt_known_err'] == 100
    with pytest.raises(ValueError, match=r"image '3' \(images/a/3.jpg\): .*predictions.csv has no prediction"):
        evaluate([sample('3')], class_source=source)
    with pytest.raises(FileNotFoundError, match='none.json'):
        evaluate(samples, class_source=str(tmp_path / 'none.json'))


@pytest.mark.parametrize('changed, message', [
    (dict(instances=[]), "image '1' .*no ground truth"), (dict(pred_instances=None), 'no pred_instances'),
    (dict(pred_instances=dict(scores=torch.ones(1), bboxes=torch.zeros(1, 4))), "no 'score_maps'")])
def test_what_is_missing_is_named(evaluate, changed, message):
    with pytest.raises(ValueError, match=message):
        evaluate([sample() | changed])
    with pytest.raises(ValueError, match='iou_thr must lie'):
        evaluate([], iou_thr=1.)
