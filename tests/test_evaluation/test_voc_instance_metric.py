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

META = dict(classes=('cat', 'dog', 'person'))


def instance(mask, label, ignore_flag=0):
    rle = encode_masks(mask[None])[0]
    return dict(bbox=[0, 0, 1, 1], bbox_label=label, mask=rle, ignore_flag=ignore_flag)


def sample(truth, predicted, img_id='a', field='pred_instances', void=None):
    """``truth``: list of (mask, label); ``predicted``: list of (mask, label, score), or None for no field."""
    shape = (truth or predicted or [(np.zeros((4, 5)), 0)])[0][0].shape
    result = dict(img_id=img_id, ori_shape=shape, instances=[instance(m, c) for m, c in truth],
                  image_labels=sorted({c for _, c in truth}),
                  void_mask=None if void is None else encode_masks(void[None])[0])
    if predicted is not None:
        result[field] = dict(
            masks=torch.from_numpy(np.array([m for m, _, _ in predicted], bool).reshape(-1, *shape)),
            labels=torch.tensor([c for _, c, _ in predicted], dtype=torch.long),
            scores=torch.tensor([s for _, _, s in predicted]), bboxes=torch.zeros(len(predicted), 4))
    return result


def metric(**kwargs):
    built = METRICS.build(dict(type='VOCInstanceMetric', **kwargs))
    built.dataset_meta = META
    return built


def evaluate(samples, **kwargs):
    built = metric(**kwargs)
    built.process({}, samples)
    return built.evaluate(len(samples))


def bar(*columns):
    mask = np.zeros((4, 10), bool)
    mask[:, list(columns)] = True
    return mask


def test_figures_in_percent_by_hand():
    # dog: covered to 1/2; cat: exactly, and a wrong one behind; person: only predicted, not counted
    samples = [sample([(bar(0, 1), 1)], [(bar(0), 1, .9)]),
               sample([(bar(2, 3, 4), 0)], [(bar(2, 3, 4), 0, .8), (bar(9), 0, .3), (bar(0), 2, .9)], 'b')]
    result = evaluate(samples)
    assert result == dict(mAP_25=100., mAP_50=100., mAP_75=50., ABO=75., ABO_instance=75.)
    assert evaluate(samples, iou_thrs=.5) == dict(mAP_50=100., ABO=75., ABO_instance=75.)
    assert list(evaluate(samples, iou_thrs=[.025, .1], prefix='PRM'))[:2] == ['PRM/mAP_2.5', 'PRM/mAP_10']


def test_void_option():
    samples = [sample([(bar(0, 1), 0)], [(bar(0, 1, 2, 3), 0, .5)], void=bar(2, 3, 4))]
    assert evaluate(samples)['ABO'] == 50 and evaluate(samples, void='ignore')['ABO'] == 100
    with pytest.raises(ValueError, match='void'):
        metric(void='objects')


def test_ignored_ground_truth_is_not_counted():
    one = sample([(bar(0), 0)], [(bar(0), 0, .5)])
    one['instances'].append(instance(bar(5), 0, ignore_flag=1))
    assert evaluate([one])['ABO_instance'] == 100


def test_stage_without_predictions_gives_nothing_and_says_so_once(logged):
    built = metric(pred_field='pred_instances_prm')
    for _ in range(2):
        built.process({}, [sample([(bar(0), 0)], None), sample([], None, 'b')])
        assert built.evaluate(2) == {}
    assert logged == ['no predictions (pred_instances_prm) in this stage']
    # and the stage after it is evaluated by the same metric
    built.process({}, [sample([(bar(0), 0)], [(bar(0), 0, .9)], field='pred_instances_prm')])
    assert built.evaluate(1)['ABO'] == 100


def test_predictions_missing_for_some_images_only():
    with pytest.raises(ValueError, match="1 of 2 images have no pred_instances, the first 'b'"):
        evaluate([sample([(bar(0), 0)], []), sample([(bar(0), 0)], None, 'b')])


def test_empty_predictions_count_zero_and_no_ground_truth_nan():
    assert evaluate([sample([(bar(0), 0)], [])])['mAP_50'] == 0
    assert evaluate([sample([(bar(0), 0)], [])])['ABO'] == 0
    assert all(np.isnan(v) for v in evaluate([sample([], [(bar(0), 0, .5)])]).values())
    assert all(np.isnan(v) for v in evaluate([sample([], [])]).values())


@pytest.mark.parametrize('change, match', [
    (lambda s: s.pop('instances'), "image 'a'.*LoadVOCInstances"),
    (lambda s: s['instances'][0].pop('mask'), "image 'a'.*instance 0 needs a mask"),
    (lambda s: s['pred_instances'].pop('scores'), r"pred_instances has no \['scores'\]"),
    (lambda s: s['pred_instances'].update(scores=torch.tensor([.1, .2])), '1 masks, 1 labels and 2 scores'),
    (lambda s: s['pred_instances'].update(scores=torch.tensor([float('nan')])), 'NaN'),
    (lambda s: s['pred_instances'].update(masks=torch.ones(1, 8, 8)),
     r'\[8, 8\] pixels.*\[4, 10\].*original size'),
    (lambda s: s['pred_instances'].update(labels=torch.tensor([3])), r'label 3 is outside \[0, 3\)'),
])
def test_malformed_samples_are_named(change, match):
    one = sample([(bar(0), 0)], [(bar(0), 0, .9)])
    change(one)
    with pytest.raises(ValueError, match=match):
        evaluate([one])


def test_dump_gives_the_same_figures_without_a_model(tmp_path):
    rng = np.random.default_rng(0)
    samples = [sample([(rng.random((6, 7)) < .5, k) for k in range(2)],
                      [(rng.random((6, 7)) < .5, int(rng.integers(3)), rng.random()) for _ in range(4)],
                      str(i), void=rng.random((6, 7)) < .2) for i in range(4)]
    for void in ('background', 'ignore'):
        expected = evaluate(samples, dump=str(tmp_path / 'new/iam.json'), iou_thrs=(.1, .5), void=void)
        dump = load_dump(str(tmp_path / 'new/iam.json'))
        assert evaluate_records(dump['images'], 3, (.1, .5), void).metrics() == expected
        assert dump['classes'] == list(META['classes']) and dump['images'][0]['img_id'] == '0'
        assert dump['images'][2]['image_labels'] == [0, 1]
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['iam.json']


def test_a_broken_dump_is_named(tmp_path):
    path = tmp_path / 'x.json'
    with pytest.raises(FileNotFoundError, match='x.json'):
        load_dump(str(path))
    for content, match in ((dict(images=[]), 'not a dump'),
                           (dict(format='mmiam-instances-1', images=[]), "'classes' must be"),
                           (dict(format='mmiam-instances-1', classes=[], images=[{}]), 'image 0 lacks')):
        write_checked_json(path, content)
        with pytest.raises(ValueError, match=f'x.json.*{match}'):
            load_dump(str(path))
    for text in ('{"format": ', '[]', json.dumps(dict(format='mmiam-instances-1', classes=[], images=[]))):
        path.write_text(text)
        with pytest.raises(ValueError, match='x.json is damaged.*dump the predictions again'):
            load_dump(str(path))


def test_table_by_class_is_logged(logged):
    evaluate([sample([(bar(0, 1), 1)], [(bar(0), 1, .9)])], iou_thrs=(.5, ))
    lines = [line for line in logged[0].splitlines() if '|' in line]
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    assert rows == [['class', 'gt', 'pred', 'AP_50 (correct)', 'ABO'], ['dog', '1', '1', '100.0 (1)', '50.0'],
                    ['mean of classes', '1', '1', '100.0 (1)', '50.0']]


@pytest.fixture
def real_samples(mini_voc):
    """Samples of the data set, the ground truth as prediction under one field, a part of it under another."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadVOCInstances'), dict(type='PackWeakInputs')]
    data = DATASETS.build(dict(type='VOCInstanceDataset', data_root=str(mini_voc()), test_mode=True,
                               ann_file='ImageSets/Segmentation/val.txt', pipeline=pipeline))
    samples = []
    for packed in data:
        one = packed['data_samples']
        masks = torch.from_numpy(decode_masks([i['mask'] for i in one.instances], one.ori_shape))
        labels = torch.tensor([i['bbox_label'] for i in one.instances])
        common = dict(labels=labels, scores=torch.ones(len(masks)),
                      bboxes=torch.tensor([i['bbox'] for i in one.instances]))
        one.pred_instances = InstanceData(masks=masks, **common)
        part = masks.clone()
        part[:, :10] = False
        one.pred_instances_prm = InstanceData(masks=part, **common)
        one.set_field(torch.zeros(20).index_fill(0, torch.tensor(one.image_labels), 1.), 'pred_class_scores')
        samples.append(one)
    return samples, data.metainfo


def test_one_evaluator_with_several_rows_and_coco(real_samples):
    samples, meta = real_samples
    evaluator = Evaluator([
        dict(type='VOCInstanceMetric', prefix='IAM'),
        dict(type='VOCInstanceMetric', prefix='PRM', pred_field='pred_instances_prm'),
        dict(type='VOCInstanceMetric', prefix='CAM', pred_field='pred_instances_cam'),
        dict(type='ImageLabelMetric', min_positives=1), dict(type='CocoMetric', metric=['bbox', 'segm'])])
    evaluator.dataset_meta = meta
    for one in samples:
        evaluator.process([one])
    result = evaluator.evaluate(len(samples))
    for key in ('mAP_25', 'mAP_50', 'mAP_75', 'ABO', 'ABO_instance'):
        assert result[f'IAM/{key}'] == 100
    assert 0 < result['PRM/ABO'] < 100 and not [key for key in result if key.startswith('CAM')]
    assert result['cls_mAP'] == 100
    assert result['coco/segm_mAP'] == result['coco/bbox_mAP_75'] == 1


def test_rle_predictions_and_missing_boxes():
    one = sample([(bar(0, 1), 1)], [(bar(0), 1, .9)])
    one['pred_instances']['masks'] = encode_masks(one['pred_instances']['masks'])
    del one['pred_instances']['bboxes']
    assert evaluate([one])['ABO'] == 50
    built = metric()
    built.process({}, [one])
    assert built.results[0]['predictions']['bboxes'] == [[0, 0, 1, 4]]
    json.dumps(built.results)


@pytest.mark.parametrize('keys, value, message', [
    (('height', ), 10**9, 'more than'), (('img_id', ), None, 'img_id is neither'),
    (('image_labels', ), [2], 'image_labels must be numbers below 2'),
    (('void_mask', ), dict(size=[4, 9], counts='PPYo1'), 'void_mask is no RLE of'),
    (('predictions', 'labels'), [2], 'labels of predictions must be numbers below 2'),
    (('predictions', 'scores'), [float('nan')], 'scores of predictions must be finite'),
    (('predictions', 'scores'), [], 'of different lengths'),
    (('ground_truth', 'bboxes'), [[0, 0, 10**400, 1]], 'bboxes of ground_truth must be four finite'),
    (('ground_truth', 'masks'), ['PPYo1'], 'mask 0 of ground_truth: runs of .* pixels in all'),
    (('ground_truth', 'masks'), ['0~'], 'mask 0 of ground_truth: a character'),
    (('ground_truth', ), [], 'ground_truth must have the lists')])
def test_a_record_is_checked_before_it_is_evaluated(keys, value, message, tmp_path):
    mask, = encode_masks(np.ones((1, 4, 10), bool))
    part = dict(labels=[0], masks=[mask['counts']], bboxes=[[0, 0, 1, 1]])
    record = dict(img_id='a', height=4, width=10, image_labels=None, void_mask=None,
                  ground_truth=dict(part, ignore_flags=[0]), predictions=dict(part, scores=[.5]))
    path = str(tmp_path / 'x.json')
    save_dump(path, [record], ('cat', 'dog'), 'p')
    assert load_dump(path)['images'] == [record]
    *holders, last = keys
    target = record
    for key in holders:
        target = target[key]
    target[last] = value
    save_dump(path, [record], ('cat', 'dog'), 'p')
    with pytest.raises(ValueError, match=f'x.json: image 0: .*{message}'):
        load_dump(path)
