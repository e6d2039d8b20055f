import numpy as np
import pytest

from mmiam.evaluation.functional.localization import localization_metrics, localization_record, sweep_boxes


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


def record(label, box, map_box=(0, 0, 0, 0), true=((3, (0, 0, 10, 10)), )):
    labels, boxes = zip(*true)
    return localization_record(label, box, np.array(labels), np.array(boxes, float),
                               np.tile(np.array(map_box, float), (255, 1)))


@pytest.mark.parametrize('label, box, true, iou, class_iou', [
    (3, [0, 0, 10, 5], [(3, (0, 0, 10, 10))], .5, .5), (1, [0, 0, 10, 9], [(3, (0, 0, 10, 10))], .9, 0),
    (3, [1, 1, 3, 3], [(3, (0, 0, 2, 2)), (3, (5, 5, 5, 9))], 1 / 7, 1 / 7), (None, None, [(3, (0, 0, 9, 9))], 0, 0),
    # the best of several boxes counts, and the class must be that of the box
    (4, [0, 0, 10, 10], [(3, (0, 0, 10, 10)), (4, (20, 0, 30, 10))], 1, 0)])
def test_records_by_hand(label, box, true, iou, class_iou):
    found = record(label, box, true=true)
    assert (found.iou, found.class_iou) == (pytest.approx(iou), pytest.approx(class_iou))
    assert found.found == (box is not None) and found.class_correct == (label in dict(true))


def test_figures_by_hand():
    """The sweep takes IoU of one half as right, the box does not; and it has one threshold for all images."""
    records = [record(3, [0, 0, 10, 5], (0, 0, 10, 5)), record(1, [0, 0, 10, 9], (0, 0, 10, 4))]
    records[1].sweep_iou[100:] = 1.
    records[0].sweep_iou[200:] = 0.
    assert localization_metrics(records) == dict(
        loc_err=100, gt_known_err=50, cls_err=50, wsol_loc_err=50, wsol_gt_known_err=0,
        wsol_thr=pytest.approx(100 / 255))
    assert localization_metrics(records, iou_thr=.4)['loc_err'] == 50.
    records[0].sweep_iou = None
    assert set(localization_metrics(records)) == {'loc_err', 'gt_known_err', 'cls_err'}
