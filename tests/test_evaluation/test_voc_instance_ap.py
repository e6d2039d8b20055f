"""Each rule of the protocol by hand, and all of them against dense masks in plain loops."""
import math

import numpy as np
import pytest

from mmiam.evaluation.functional.records import evaluate_records
from mmiam.evaluation.functional.voc_instance_ap import ImageOverlaps, best_overlaps, instance_average_precision
from mmiam.utils.rle import encode_masks

nan = float('nan')


def image(scores, labels, gt_labels, iou):
    return ImageOverlaps(np.array(scores, float), np.array(labels, int), np.array(gt_labels, int),
                         np.array(iou, float).reshape(len(labels), len(gt_labels)))


@pytest.mark.parametrize('images, ap', [
    ([([.9, .8], [[.7], [.95]])], 1),  # a second detection is wrong, behind all objects without harm
    ([([.9, .8, .7], [[.9, 0], [.8, 0], [0, .6]])], 5 / 6),  # right, again, right: 1/2 * 1 + 1/2 * 2/3
    ([([.1, .9, .3, .5, .7], [[0, 0, .5], [.5, 0, 0], [0] * 3, [0, .5, 0], [0] * 3])], (1 + 2 / 3 + 3 / 5) / 3),
    ([([.3, .2, .1], [[0, 0], [.5, 0], [0, .5]])], 2 / 3),  # precision 0, 1/2, 2/3 becomes 2/3 throughout
    ([([.5], [[.9]]), ([.5], [[.1]])], 1 / 2), ([([.5], [[.1]]), ([.5], [[.9]])], 1 / 4),  # equal scores: in order
    ([([.5, .5], [[.6], [.9]])], 1), ([([.9, .8], [[.6, .6], [.6, .6]])], 1 / 2),  # of equal IoUs the first
    ([([], np.zeros((0, 3)))], 0), ([], nan), ([([.9], np.zeros((1, 0)))], nan)])
def test_one_class_by_hand(images, ap):
    images = [image(scores, [0] * len(scores), [0] * np.shape(iou)[1], iou) for scores, iou in images]
    result = instance_average_precision(images, 1, .5)
    assert result.ap.tolist() == [pytest.approx(ap, nan_ok=True)] and result.mean == pytest.approx(ap, nan_ok=True)
    assert result.num_predictions[0] == sum(len(one.scores) for one in images)


def test_classes_by_hand():
    """Found; ground truth alone, which is 0; predictions alone, or neither, which are not counted."""
    images = [image([.9, .8], [0, 2], [0, 1], [[.8, 0], [.9, .9]]), image([.1], [1], [0, 0], [[1, 1]])]
    result = instance_average_precision(images[:1], 4, .5)
    np.testing.assert_array_equal(result.ap, [1, 0, nan, nan])
    assert result.mean == .5 and result.num_correct.tolist() == [1, 0, 0, 0]
    assert result.num_predictions.tolist() == [1, 0, 1, 0] and result.num_gt.tolist() == [1, 1, 0, 0]
    best, abo = best_overlaps(images, 3)
    assert best.tolist() == [.8, 0, 0, 0]
    np.testing.assert_allclose(abo, [.8 / 3, 0, nan])


def test_bad_input():
    for thr in (0, -1, 1.5, 50):
        with pytest.raises(ValueError, match='threshold'):
            instance_average_precision([], 1, thr)
    with pytest.raises(ValueError, match='label 3 is outside'):
        instance_average_precision([image([.9], [3], [0], [[.1]])], 2, .5)
    with pytest.raises(ValueError, match='void must be'):
        evaluate_records([], 1, void='objects')


def slow_reference(data, num_classes, thr, void):
    """The protocol on dense masks, one prediction and one rectangle at a time."""
    aps, abos, best = [], [], []
    for label in range(num_classes):
        scored, overlaps = [], []
        for sample in data:
            valid = np.logical_not(sample['void']) if void == 'ignore' else True
            truths = [m & valid for m, c in zip(sample['gt_masks'], sample['gt_labels']) if c == label]
            found = [(score, mask & valid) for score, mask, other in
                     zip(sample['scores'], sample['masks'], sample['labels']) if other == label]
            found.sort(key=lambda pair: -pair[0])
            used, table = set(), [[(m & t).sum() / max((m | t).sum(), 1) for t in truths] for _, m in found]
            for (score, _), row in zip(found, table):
                winner = row.index(max(row)) if row else None
                scored.append((score, bool(row) and row[winner] >= thr and winner not in used))
                used |= {winner} if scored[-1][1] else set()
            overlaps += [max([row[k] for row in table], default=0.) for k in range(len(truths))]
        best += overlaps
        abos.append(sum(overlaps) / len(overlaps) if overlaps else nan)
        scored.sort(key=lambda pair: -pair[0])
        precision = [hits / count for count, hits in enumerate(np.cumsum([right for _, right in scored]), 1)]
        areas = [max(precision[k:]) for k, (_, right) in enumerate(scored) if right]
        aps.append(sum(areas) / len(overlaps) if overlaps else nan)
    return aps, abos, best


def random_data(rng):
    for _ in range(rng.integers(1, 5)):
        n, m = rng.integers(0, 7), rng.integers(0, 4)
        labels_image = rng.integers(0, 6, (5, 6))  # 0 background, 1..m objects, 5 void
        gt_masks = np.array([labels_image == k for k in range(1, m + 1)]).reshape(m, 5, 6)
        masks = rng.random((n, 5, 6)) < .3
        for k in range(n):
            if m and rng.random() < .7:  # near an object
                masks[k] = gt_masks[rng.integers(m)] ^ (rng.random((5, 6)) < .08)
        yield dict(masks=masks, scores=np.round(rng.random(n), 1),  # ties happen
                   labels=rng.integers(0, 3, n), gt_masks=gt_masks, gt_labels=rng.integers(0, 3, m),
                   void=labels_image == 5)


@pytest.mark.parametrize('void', ['background', 'ignore'])
@pytest.mark.parametrize('seed', range(15))
def test_against_slow_reference(seed, void):
    data = list(random_data(np.random.default_rng(seed)))
    records = []
    for s in data:
        counts, gt_counts = ([rle['counts'] for rle in encode_masks(s[key])] for key in ('masks', 'gt_masks'))
        void_mask, = encode_masks(s['void'][None])
        records.append(dict(
            height=5, width=6, void_mask=void_mask,
            ground_truth=dict(labels=[*s['gt_labels'], 0], masks=[*gt_counts, void_mask['counts']],
                              ignore_flags=[0] * len(gt_counts) + [1]),  # the last one does not count
            predictions=dict(labels=s['labels'], masks=counts, scores=s['scores'])))
    scores = evaluate_records(records, 4, (.25, .5, .75), void)
    for thr in (.25, .5, .75):
        aps, abos, best = slow_reference(data, 4, thr, void)
        np.testing.assert_allclose(scores.ap[thr].ap, aps, rtol=1e-12)
    np.testing.assert_allclose(scores.abo, abos, rtol=1e-12)
    np.testing.assert_allclose(sorted(scores.best), sorted(best), rtol=1e-12)
    assert scores.metrics()['ABO_instance'] == pytest.approx(100 * np.mean(best) if best else nan, nan_ok=True)
    assert math.isnan(scores.metrics()['ABO']) == (not best)
