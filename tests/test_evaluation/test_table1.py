import math

import pytest

from mmiam.evaluation.table1 import FIGURES, PAPER, mean_and_deviation, row_order, summarize, table_rows


def figures(*values):
    return dict(zip(FIGURES, values))


def test_the_paper_says_what_its_text_says():
    # Sec. 4.1: margins of 1.6, 2.0, 2.9 and 4.3 of IAM-S5 over PRM
    margin = [a - b for a, b in zip(PAPER['IAM-S5'], PAPER['PRM'])]
    assert margin == pytest.approx([1.6, 2.0, 2.9, 4.3])
    assert len(PAPER) == 16 and all(len(values) == 4 for values in PAPER.values())


def test_mean_and_sample_deviation():
    mean, deviation = mean_and_deviation([figures(10, 1, 5, 40), figures(14, 1, 5, 43)])
    assert mean == figures(12, 1, 5, 41.5)
    assert deviation == pytest.approx(figures(math.sqrt(8), 0, 0, math.sqrt(4.5)))
    assert mean_and_deviation([figures(1, 2, 3, 4)])[1] == figures(None, None, None, None)


def test_rows_in_the_order_of_the_paper_and_variants_behind_theirs():
    names = ['mine', 'IAM-S9', 'IAM-S5 without ConvCRF', 'IAM-S5', 'PRM', 'CAM Rect']
    assert sorted(names, key=row_order) == ['CAM Rect', 'PRM', 'IAM-S5', 'IAM-S5 without ConvCRF', 'IAM-S9', 'mine']


def test_summary_with_the_margin_seed_by_seed():
    runs = {'PRM': {'0': figures(40, 20, 5, 30), '1': figures(42, 20, 5, 30), '2': figures(0, 0, 0, 0)},
            'IAM-S5': {'0': figures(43, 24, 7, 38), '1': figures(43.017, 22, float('nan'), 40)}, 'IAM-S1': {}}
    summary = summarize(runs, {'MELM Rect': 'no file'})
    assert list(summary['rows']) == ['PRM', 'IAM-S5']
    assert summary['rows']['PRM'] == figures(27.33, 13.33, 3.33, 20.)
    assert summary['rows']['IAM-S5'] == figures(43.01, 23., None, 39.)  # NaN has no place in json
    assert summary['std']['IAM-S5']['mAP_75'] is None
    assert summary['not_run'] == {'MELM Rect': 'no file'}
    assert summary['margin']['rows'] == ['IAM-S5', 'PRM']
    assert summary['margin']['mean'] == figures(2.01, 3., None, 9.)  # seeds 0 and 1: 3 and 1.017, 4 and 2, 8 and 10
    assert summary['margin']['std'] == figures(1.4, 1.41, None, 1.41)
    assert summary['margin']['paper'] == figures(1.6, 2., 2.9, 4.3)
    assert 'margin' not in summarize({'PRM': runs['PRM']}, {})


def test_table_never_shows_a_number_for_a_row_that_did_not_run():
    summary = summarize({'PRM': {'0': figures(40, 20, 5, 30), '1': figures(42, 20, 5, 30)},
                         'IAM-S5': {'0': figures(44, 24, 7, 38)}, 'mine': {'0': figures(1, 2, 3, 4)}},
                        {'MELM Rect': 'no file'})
    lines = {line[0]: line[1:] for line in table_rows(summary)}
    assert lines['PRM'] == ['2', '41.0 ±1.4 (44.3)', '20.0 ±0.0 (26.8)', '5.0 ±0.0 (9.0)', '30.0 ±0.0 (37.6)']
    assert lines['IAM-S5'] == ['1', '44.0 (45.9)', '24.0 (28.8)', '7.0 (11.9)', '38.0 (41.9)']
    assert lines['mine'] == ['1', '1.0', '2.0', '3.0', '4.0']
    assert lines['MELM Rect'] == ['not run', '- (36.0)', '- (14.6)', '- (1.9)', '- (26.4)']
    assert lines['IAM-S5 - PRM'] == ['', '+4.0 (+1.6)', '+4.0 (+2.0)', '+2.0 (+2.9)', '+8.0 (+4.3)']
    assert len(lines) == 6  # with the head: no row that is in neither
