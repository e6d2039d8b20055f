import json

import numpy as np
import pytest

from mmiam.evaluation.dump import save_dump
from mmiam.utils.rle import encode_masks


@pytest.fixture
def run(call_tool, capsys):
    """``run(*arguments)`` -> what the tool printed."""
    def call(*arguments):
        assert call_tool('tools/analysis_tools/eval_dump.py', *arguments) == 0
        return capsys.readouterr().out
    return call


def part(columns, **kwargs):
    mask = np.zeros((1, 4, 10), bool)
    mask[..., columns] = True
    box = [columns[0], 0, columns[-1] + 1, 4]
    return dict(labels=[1], masks=[encode_masks(mask)[0]['counts']], bboxes=[box], **kwargs)


@pytest.fixture
def dump(tmp_path):
    """One dog of two columns; predicted with two columns more, of which one is void."""
    path = tmp_path / 'iam.instances.json'
    void = np.zeros((1, 4, 10), bool)
    void[..., 2] = True
    record = dict(
        img_id='a', height=4, width=10, image_labels=[1], void_mask=encode_masks(void)[0],
        ground_truth=part([0, 1], ignore_flags=[0]), predictions=part([0, 1, 2, 3], scores=[.5]))
    save_dump(str(path), [record], ('cat', 'dog'), 'pred_instances')
    return path


@pytest.mark.parametrize('options, expected', [
    ((), dict(mAP_25=100, mAP_50=100, mAP_75=0, ABO=50, ABO_instance=50)),
    (('--void', 'ignore', '--iou-thrs', '0.6', '0.7'),
     dict(mAP_60=100, mAP_70=0, ABO=200 / 3, ABO_instance=200 / 3)),
])
def test_figures(run, dump, tmp_path, options, expected):
    printed = run(dump, '--json', tmp_path / 'figures.json', *options)
    assert json.loads((tmp_path / 'figures.json').read_text()) == {str(dump): pytest.approx(expected)}
    assert '| dog ' in printed and '| cat ' not in printed
    size = next(line.split('|') for line in printed.splitlines() if line.startswith('| 0.2 to 1.01 '))  # 8 of 40 pixels
    assert [value.strip() for value in size[2:5]] == ['1', f'{expected["ABO"]:.1f}', '0']


def test_coco_and_several_dumps(run, dump, tmp_path):
    other = tmp_path / 'other.instances.json'
    other.write_text(dump.read_text())
    run(dump, other, '--coco', '--json', tmp_path / 'figures.json')
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert set(figures) == {str(dump), str(other)}
    # IoU 0.5: right at the first of the ten thresholds .50, .55, …, .95
    assert figures[str(dump)]['coco/segm_mAP_50'] == 1
    assert figures[str(dump)]['coco/segm_mAP'] == .1


def test_errors_are_one_sentence(call_tool, tmp_path, capsys):
    assert call_tool('tools/analysis_tools/eval_dump.py', tmp_path / 'gone.json') == 2
    assert 'gone.json does not exist' in capsys.readouterr().err


def test_f1_by_least_score(run, tmp_path):
    """Two dogs: right at .6, a second mask on the same dog at .45 (one a region: never shown), a cat on the other."""
    def parts(*columns, **kwargs):
        return dict(kwargs, **{key: [part(one)[key][0] for one in columns] for key in ('masks', 'bboxes')})

    record = dict(img_id='a', height=4, width=10, image_labels=[1], void_mask=None,
                  ground_truth=parts([0, 1], [8, 9], labels=[1, 1], ignore_flags=[0, 0]),
                  predictions=parts([0, 1, 2], [0, 1, 2, 3], [8, 9], labels=[1, 1, 0], scores=[.6, .45, .5]))
    path = tmp_path / 'iam.json'
    save_dump(str(path), [record], ('cat', 'dog'), 'pred_instances')
    lines = [line for line in run(path).splitlines() if line.startswith('| 0.')]
    rows = [[cell.strip() for cell in line.split('|')[1:5]] for line in lines]
    figures = {row[0]: row[1:] for row in rows if len(row[0]) == 4}
    assert figures['0.40'] == figures['0.50'] == ['50.0', '50.0', '50.0']
    assert figures['0.55'] == ['66.7', '100.0', '50.0'] and figures['0.65'] == ['0.0', '0.0', '0.0']
