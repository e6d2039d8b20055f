import json

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from mmiam.evaluation.dump import load_dump, save_dump
from mmiam.evaluation.functional.records import evaluate_records
from mmiam.utils.checked_json import write_checked_json
from mmiam.utils.rle import decode_masks, encode_masks

METRIC = 'VOCInstanceMetric'


def sample(truth, predicted, img_id='a', field='pred_instances', void=None):
    """``truth``: list of (mask, label); ``predicted``: list of (mask, label, score), or None for no field."""
    shape = (truth or predicted or [(np.zeros((4, 5)), 0)])[0][0].shape
    result = dict(img_id=img_id, ori_shape=shape, image_labels=sorted({c for _, c in truth}), instances=[
        dict(bbox=[0, 0, 1, 1], bbox_label=label, mask=encode_masks(mask[None])[0]) for mask, label in truth],
        void_mask=None if void is None else encode_masks(void[None])[0])
    if predicted is not None:
        result[field] = dict(
            masks=torch.from_numpy(np.array([m for m, _, _ in predicted], bool).reshape(-1, *shape)),
            labels=torch.tensor([c for _, c, _ in predicted], dtype=torch.long),
            scores=torch.tensor([s for _, _, s in predicted]), bboxes=torch.zeros(len(predicted), 4))
    return result


def bar(*columns):
    mask = np.zeros((4, 10), bool)
    mask[:, list(columns)] = True
    return mask


FOUND = sample([(bar(0), 0)], [(bar(0), 0, .9)])
HALF = sample([(bar(0, 1), 1)], [(bar(0), 1, .9)])


def test_figures_in_percent_by_hand(evaluate, logged):
    # dog: covered to 1/2; cat: exactly, and a wrong one behind; person: only predicted, not counted
    samples = [HALF, sample([(bar(2, 3, 4), 0)], [(bar(2, 3, 4), 0, .8), (bar(9), 0, .3), (bar(0), 2, .9)], 'b')]
    assert evaluate(samples) == dict(mAP_25=100., mAP_50=100., mAP_75=50., ABO=75., ABO_instance=75.)
    assert evaluate(samples, iou_thrs=.5) == dict(mAP_50=100., ABO=75., ABO_instance=75.)
    assert list(evaluate(samples, iou_thrs=[.025, .1], prefix='PRM'))[:2] == ['PRM/mAP_2.5', 'PRM/mAP_10']
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in logged[1].splitlines() if '|' in line]
    assert rows == [['class', 'gt', 'pred', 'AP_50 (correct)', 'ABO'], ['cat', '1', '2', '100.0 (1)', '100.0'],
                    ['dog', '1', '1', '100.0 (1)', '50.0'], ['person', '0', '1', '- (0)', '-'],
                    ['mean of classes', '2', '4', '100.0 (2)', '75.0']]


def test_void_option(evaluate):
    samples = [sample([(bar(0, 1), 0)], [(bar(0, 1, 2, 3), 0, .5)], void=bar(2, 3, 4))]
    assert evaluate(samples)['ABO'] == 50 and evaluate(samples, void='ignore')['ABO'] == 100


def test_a_stage_without_predictions_gives_nothing_and_says_so_once(logged):
    built = METRICS.build(dict(type=METRIC, pred_field='prm'))
    built.dataset_meta = dict(classes=('cat', ))
    for _ in range(2):
        built.process({}, [sample([(bar(0), 0)], None), sample([], None, 'b')])
        assert built.evaluate(2) == {}
    assert logged == ['no predictions (prm) in this stage']
    # and the stage after it is evaluated by the same metric
    built.process({}, [sample([(bar(0), 0)], [(bar(0), 0, .9)], field='prm')])
    assert built.evaluate(1)['ABO'] == 100


def test_no_predictions_count_zero_and_no_ground_truth_nan(evaluate):
    assert set(evaluate([sample([(bar(0), 0)], [])]).values()) == {0}
    for predicted in ([], [(bar(0), 0, .5)]):
        assert all(np.isnan(v) for v in evaluate([sample([], predicted)]).values())
    with pytest.raises(ValueError, match="1 of 2 images have no pred_instances, the first 'b'"):
        evaluate([FOUND, sample([(bar(0), 0)], None, 'b')])


@pytest.mark.parametrize('change, message', [
    (dict(instances=[dict(bbox=[0, 0, 1, 1], bbox_label=0)]), "image 'a'.*instance 0 needs a mask"),
    (dict(scores=None), r"pred_instances has no \['scores'\]"),
    (dict(scores=torch.tensor([.1, .2])), '1 masks, 1 labels and 2 scores'),
    (dict(scores=torch.tensor([float('nan')])), 'NaN'),
    (dict(masks=torch.ones(1, 8, 8)), r'\[8, 8\] pixels.*\[4, 10\].*original size'),
    (dict(labels=torch.tensor([3])), r'label 3 is outside \[0, 3\)')])
def test_malformed_samples_are_named(evaluate, change, message):
    predicted = {key: value for key, value in {**FOUND['pred_instances'], **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        evaluate([{**FOUND, 'pred_instances': predicted, **change}])
    with pytest.raises(ValueError, match="image 'a'.*LoadVOCInstances"):
        evaluate([dict(img_id='a')])
    with pytest.raises(ValueError, match='iou_thrs must lie'):
        evaluate([], iou_thrs=50)


def test_rle_predictions_and_missing_boxes(evaluate):
    predicted = dict(HALF['pred_instances'], masks=encode_masks(HALF['pred_instances']['masks']))
    del predicted['bboxes']
    built = METRICS.build(dict(type=METRIC))
    built.process({}, [dict(HALF, pred_instances=predicted)])
    assert built.results[0]['predictions']['bboxes'] == [[0, 0, 1, 4]]
    json.dumps(built.results)
    assert evaluate([dict(HALF, pred_instances=predicted)])['ABO'] == 50


def test_dump_gives_the_same_figures_without_a_model(evaluate, tmp_path):
    rng = np.random.default_rng(0)
    samples = [sample([(rng.random((6, 7)) < .5, k) for k in range(2)],
                      [(rng.random((6, 7)) < .5, int(rng.integers(3)), rng.random()) for _ in range(4)],
                      str(i), void=rng.random((6, 7)) < .2) for i in range(4)]
    for void in ('background', 'ignore'):
        expected = evaluate(samples, dump=str(tmp_path / 'new/iam.json'), iou_thrs=(.1, .5), void=void)
        dump = load_dump(str(tmp_path / 'new/iam.json'))
        assert evaluate_records(dump['images'], 3, (.1, .5), void).metrics() == expected
        assert dump['classes'] == ['cat', 'dog', 'person'] and dump['images'][2]['image_labels'] == [0, 1]
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['iam.json']


HEAD = dict(format='mmiam-instances-1', classes=['cat', 'dog'])


@pytest.mark.parametrize('content, message', [
    ('{"format": ', 'is damaged'), (json.dumps(dict(HEAD, images=[])), 'is damaged'), (dict(images=[]), 'not a dump'),
    (dict(HEAD, classes=3, images=[]), "'classes' must be"), (dict(HEAD, images=[3]), "'images' must be"),
    (dict(HEAD, images=[{}]), "image 0: no key 'height'")])
def test_a_broken_dump_is_named(content, message, tmp_path):
    path = tmp_path / 'x.json'
    with pytest.raises(FileNotFoundError, match='x.json'):
        load_dump(str(path))
    path.write_text(content) if isinstance(content, str) else write_checked_json(path, content)
    with pytest.raises(ValueError, match=f'x.json.*{message}.*; dump the predictions again'):
        load_dump(str(path))


@pytest.mark.parametrize('keys, value, message', [
    ('height', 10**9, 'more than'), ('img_id', None, 'img_id is neither'),
    ('image_labels', [2], 'image_labels must be numbers below 2'),
    ('void_mask', dict(size=[4, 9], counts='PPYo1'), 'void_mask is no RLE of'),
    ('predictions.labels', [2], 'labels of predictions must be numbers below 2'),
    ('predictions.scores', [float('nan')], 'scores of predictions must be finite'),
    ('predictions.scores', [], 'of different lengths'),
    ('ground_truth.bboxes', [[0, 0, 10**400, 1]], 'bboxes of ground_truth must be four finite'),
    ('ground_truth.masks', ['PPYo1'], 'mask 0 of ground_truth: runs of .* pixels in all'),
    ('ground_truth.masks', ['0~'], 'mask 0 of ground_truth: a character'),
    ('ground_truth', [], 'ground_truth must have the lists')])
def test_a_record_is_checked_before_it_is_evaluated(keys, value, message, tmp_path):
    part = dict(labels=[0], masks=[encode_masks(np.ones((1, 4, 10), bool))[0]['counts']], bboxes=[[0, 0, 1, 1]])
    record = dict(img_id='a', height=4, width=10, image_labels=None, void_mask=None,
                  ground_truth=dict(part, ignore_flags=[0]), predictions=dict(part, scores=[.5]))
    path = str(tmp_path / 'x.json')
    save_dump(path, [record], ('cat', 'dog'), 'p')
    assert load_dump(path)['images'] == [record]
    *holder, last = keys.split('.')
    (record[holder[0]] if holder else record)[last] = value
    save_dump(path, [record], ('cat', 'dog'), 'p')
    with pytest.raises(ValueError, match=f'x.json: image 0: .*{message}'):
        load_dump(path)


def test_one_evaluator_with_several_rows_and_coco(mini_voc):
    """The ground truth as prediction under one field, a part of it under another, none under a third."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]
    data = DATASETS.build(dict(type='VOCInstanceDataset', data_root=str(mini_voc()), test_mode=True,
                               ann_file='ImageSets/Segmentation/val.txt', pipeline=pipeline))
    evaluator = Evaluator([
        dict(type=METRIC, prefix='IAM'), dict(type=METRIC, prefix='PRM', pred_field='pred_instances_prm'),
        dict(type=METRIC, prefix='CAM', pred_field='pred_instances_cam'),
        dict(type='ImageLabelMetric', min_positives=1), dict(type='CocoMetric', metric=['bbox', 'segm'])])
    evaluator.dataset_meta = data.metainfo
    for one in (packed['data_samples'] for packed in data):
        masks = torch.from_numpy(decode_masks([i['mask'] for i in one.instances], one.ori_shape))
        one.pred_instances = InstanceData(
            masks=masks, labels=torch.tensor([i['bbox_label'] for i in one.instances]), scores=torch.ones(len(masks)),
            bboxes=torch.tensor([i['bbox'] for i in one.instances]))
        one.pred_instances_prm = one.pred_instances.clone()
        one.pred_instances_prm.masks = masks & (torch.arange(masks.size(1)) >= 10)[:, None]
        one.set_field(torch.zeros(20).index_fill(0, torch.tensor(one.image_labels), 1.), 'pred_class_scores')
        evaluator.process([one])
    result = evaluator.evaluate(len(data))
    for key in ('mAP_25', 'mAP_50', 'mAP_75', 'ABO', 'ABO_instance'):
        assert result[f'IAM/{key}'] == 100
    assert 0 < result['PRM/ABO'] < 100 and not [key for key in result if key.startswith('CAM')]
    assert result['cls_mAP'] == 100
    assert result['coco/segm_mAP'] == result['coco/bbox_mAP_75'] == 1
