import numpy as np
import pytest

from mmiam.evaluation.functional.localization import (
    box_ious,
    localization_metrics,
    localization_record,
    sweep_boxes,
)


def test_box_ious_by_hand():
    assert box_ious([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 1, 5]])[0].tolist() == [
        pytest.approx(1 / 7), 1, 0, 0]


def test_sweep_by_hand():
    """Two plateaus: a large one at half height, a small one at full height."""
    score_map = np.zeros((10, 12))
    score_map[1:7, 1:6] = 1.
    score_map[2:5, 8:11] = 2.
    assert sweep_boxes(score_map).tolist() == [[1, 1, 6, 7]] * 127 + [[8, 2, 11, 5]] * 128  # 127 = int(255 / 2)
    assert not sweep_boxes(np.full((3, 4), 7.)).any()
    assert sweep_boxes(np.array([[0., 1.]]))[0].tolist() == [1, 0, 2, 1]
    for bad in (np.zeros(3), np.zeros((0, 3)), np.array([[0., np.nan]])):
        with pytest.raises(ValueError, match='score map must be'):
            sweep_boxes(bad)


def record(label, box, map_box=None, true=((3, (0, 0, 10, 10)), )):
    labels, boxes = zip(*true)
    sweep = None if map_box is None else np.tile(np.array(map_box, float), (255, 1))
    return localization_record(label, box, np.array(labels), np.array(boxes, float), sweep)


def test_figures_by_hand():
    """Four images: all right; wrong class; IoU of exactly one half; no box."""
    records = [record(3, [0, 0, 10, 10]), record(1, [0, 0, 10, 9]), record(3, [0, 0, 10, 5]), record(None, None)]
    assert [one.iou for one in records] == [1., .9, .5, 0.] and not records[3].found
    assert localization_metrics(records) == dict(loc_err=75., gt_known_err=50., cls_err=50.)
    assert localization_metrics(records, iou_thr=.4)['loc_err'] == 50.


def test_the_best_of_several_boxes_counts_and_the_class_must_be_that_of_the_box():
    both = record(4, [0, 0, 10, 10], true=((3, (0, 0, 10, 10)), (4, (20, 0, 30, 10))))
    assert both.iou == 1 and both.class_correct and both.class_iou == 0


def test_sweep_figures_by_hand():
    """The sweep takes IoU of one half as right, and one threshold for all images."""
    one, two = record(3, None, [0, 0, 10, 5]), record(1, None, [0, 0, 10, 4])
    two.sweep_iou[100:] = 1.
    one.sweep_iou[200:] = 0.
    figures = localization_metrics([one, two])
    assert figures['wsol_thr'] == pytest.approx(100 / 255)
    assert figures['wsol_gt_known_err'] == 0 and figures['wsol_loc_err'] == 50.
    assert 'wsol_thr' not in localization_metrics([one, record(3, [0, 0, 1, 1])])
