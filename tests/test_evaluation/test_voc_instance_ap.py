"""Each rule of the protocol by hand, and all of them against dense masks in plain loops."""
import math

import numpy as np
import pytest

from mmiam.evaluation.functional.best_overlap import best_overlap
from mmiam.evaluation.functional.voc_instance_ap import (
    ImageOverlaps,
    average_precision,
    image_overlaps,
    instance_average_precision,
    match_predictions,
)
from mmiam.utils.rle import encode_masks

nan = float('nan')


def image(scores, labels, gt_labels, iou):
    iou = np.array(iou, dtype=float).reshape(len(labels), len(gt_labels))
    return ImageOverlaps(scores, labels, gt_labels, iou)


def ap_of(images, num_classes=1, thr=.5):
    return instance_average_precision(images, num_classes, thr)


def test_duplicate_detection_is_wrong():
    # sorted: correct, duplicate -> precision 1, 1/2; recall 1 after the first
    result = ap_of([image([.9, .8], [0, 0], [0], [[.7], [.95]])])
    assert result.ap.tolist() == [1.]
    assert (result.num_gt[0], result.num_predictions[0], result.num_correct[0]) == (1, 2, 1)
    # the duplicate ahead of the second object: flags 1, 0, 1 of 2 -> 1/2 * 1 + 1/2 * 2/3
    result = ap_of([image([.9, .8, .7], [0, 0, 0], [0, 0], [[.9, 0], [.8, 0], [0, .6]])])
    assert result.ap[0] == pytest.approx(5 / 6)


def test_class_without_predictions_is_zero_without_ground_truth_not_counted():
    # class 0: found; 1: ground truth, no prediction; 2: predictions, no ground truth; 3: neither
    result = ap_of([image([.9, .8], [0, 2], [0, 1], [[.8, 0], [.9, .9]])], num_classes=4)
    np.testing.assert_array_equal(result.ap, [1, 0, nan, nan])
    assert result.mean == .5
    assert result.num_predictions.tolist() == [1, 0, 1, 0] and result.num_gt.tolist() == [1, 1, 0, 0]


def test_nothing_at_all_is_nan_and_not_zero():
    assert math.isnan(ap_of([image([], [], [], [])], 2).mean)
    assert math.isnan(ap_of([], 2).mean)


def test_area_by_hand():
    # flags in order of score 1, 0, 1, 0, 1, 4 objects: precision at the hits 1, 2/3, 3/5, recall steps 1/4
    scores, flags = np.array([.1, .9, .3, .5, .7]), np.array([True, True, False, True, False])
    assert average_precision(scores, flags, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # an early miss: precision 0, 1/2, 2/3 becomes 2/3 throughout
    assert average_precision(np.array([3., 2., 1.]), np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert math.isnan(average_precision(np.zeros(1), np.zeros(1, bool), 0))
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0


def test_equal_scores_keep_their_order():
    right, wrong = [[.9]], [[.1]]
    assert ap_of([image([.5], [0], [0], right), image([.5], [0], [0], wrong)]).ap[0] == .5
    assert ap_of([image([.5], [0], [0], wrong), image([.5], [0], [0], right)]).ap[0] == .25
    # within an image the first of two equals takes the object
    assert match_predictions(np.array([[.6], [.9]]), .5).tolist() == [True, False]
    # of two equally good ground truths the first is taken
    assert match_predictions(np.array([[.6, .6], [.6, .6]]), .5).tolist() == [True, False]


def test_bad_input():
    for thr in (0, -1, 1.5, 50):
        with pytest.raises(ValueError, match='threshold'):
            ap_of([], thr=thr)
    with pytest.raises(ValueError, match='label 3 is outside'):
        ap_of([image([.9], [3], [0], [[.1]])], num_classes=2)
    with pytest.raises(ValueError, match='do not fit'):
        ImageOverlaps([.9], [0], [0, 1], np.zeros((1, 1)))


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


def random_data(seed):
    rng = np.random.default_rng(seed)
    data = []
    for _ in range(rng.integers(1, 5)):
        n, m = rng.integers(0, 7), rng.integers(0, 4)
        labels_image = rng.integers(0, 6, (5, 6))  # 0 background, 1..m objects, 5 void
        gt_masks = np.array([labels_image == k for k in range(1, m + 1)]).reshape(m, 5, 6)
        masks = rng.random((n, 5, 6)) < .3
        for k in range(n):
            if m and rng.random() < .7:  # near an object
                masks[k] = gt_masks[rng.integers(m)] ^ (rng.random((5, 6)) < .08)
        data.append(dict(
            masks=masks, scores=np.round(rng.random(n), 1),  # ties happen
            labels=rng.integers(0, 3, n), gt_masks=gt_masks, gt_labels=rng.integers(0, 3, m),
            void=labels_image == 5))
    return data


@pytest.mark.parametrize('void', ['background', 'ignore'])
@pytest.mark.parametrize('seed', range(15))
def test_against_slow_reference(seed, void):
    data = random_data(seed)
    overlaps = [image_overlaps(
        encode_masks(s['masks']), s['scores'], s['labels'], encode_masks(s['gt_masks']), s['gt_labels'],
        encode_masks(s['void'][None])[0] if void == 'ignore' else None) for s in data]
    for thr in (.25, .5, .75):
        aps, abos, best = slow_reference(data, 4, thr, void)
        np.testing.assert_allclose(ap_of(overlaps, 4, thr).ap, aps, rtol=1e-12)
    overlap = best_overlap(overlaps, 4)
    np.testing.assert_allclose(overlap.per_class, abos, rtol=1e-12)
    np.testing.assert_allclose(sorted(overlap.best), sorted(best), rtol=1e-12)
