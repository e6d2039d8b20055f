"""The statistics on mini_voc: figures, pictures, errors; arrows by hand."""
import itertools
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import load_tool

extent_figures = load_tool('tools/analysis_tools/extent_figures.py')
tool = vars(load_tool('tools/analysis_tools/analyze_extent.py'))


def test_best_threshold_by_hand():
    soft = np.array([[[.9, .6, .3, .1]]])
    truth = np.array([[[True, True, False, False]], [[True, True, True, False]]])
    # theta in (.3, .6]: exactly the first; in (.1, .3]: exactly the second
    np.testing.assert_array_equal(tool['best_threshold_iou'](soft, truth), [[1., 1.]])
    assert tool['best_threshold_iou'](np.array([[[.01, .009]]]), truth[:1, :, 1:3])[0, 0] == 1  # inclusive
    assert tool['best_threshold_iou'](np.zeros((0, 2, 2)), np.zeros((3, 2, 2), bool)).shape == (0, 3)
    with pytest.raises(ValueError, match='NaN'):
        tool['best_threshold_iou'](np.full((1, 1, 4), np.nan), truth)


@pytest.mark.parametrize('seed', range(5))
def test_best_threshold_against_loops(seed):
    rng = np.random.default_rng(seed)
    maps, masks = np.round(rng.random((3, 4, 5)), 2), rng.random((2, 4, 5)) < .4
    expected = np.zeros((3, 2))
    for (i, soft), (j, mask), theta in itertools.product(enumerate(maps), enumerate(masks), tool['THRESHOLDS']):
        binary = soft >= theta
        expected[i, j] = max(expected[i, j], (binary & mask).sum() / max((binary | mask).sum(), 1))
    np.testing.assert_array_equal(tool['best_threshold_iou'](maps, masks), expected)


@pytest.fixture
def arguments(tiny_files, tmp_path):
    return [*tiny_files, '--device', 'cpu', '--out', str(tmp_path / 'out')]


def test_figures_and_pictures(arguments, tmp_path, capsys):
    assert tool['main']([*arguments, '--arrows', '1']) == 0
    out, printed = tmp_path / 'out', capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        'classes_instance.png', 'classes_map.png', 'density_instance.png', 'density_map.png', 'extent.json',
        'weights_v0.png']
    content = json.loads((out / 'extent.json').read_text())
    assert content['num_images'] == 2 and set(content['methods']) == {'CAM', 'PRM', 'IAM'}
    for name, views in content['methods'].items():
        assert views['instance']['number'] == 3  # a dog; a cat and a person
        samples = views['instance']['samples']
        assert samples['label'] == [1, 0, 2]
        # without their void border of a pixel the boxes are 14 x 14, 9 x 8 and 10 x 17 of 24 x 32
        assert samples['size'] == pytest.approx([196 / 768, 72 / 768, 170 / 768], abs=1e-6)
        assert views['instance']['mean'] == pytest.approx(np.mean(samples['iou']), abs=1e-6)
        assert all(0 <= value <= 1 for value in views['map']['samples']['iou'])
        assert views['map']['number'] > 0 and name in printed
        assert list(views['map']['by_class']) == ['cat', 'dog', 'person']
    assert content['methods']['PRM']['map']['number'] == content['methods']['IAM']['map']['number']
    assert content['methods']['CAM']['map']['number'] == 6  # three classes in each image
    for path in out.glob('*.png'):
        assert cv2.imread(str(path)) is not None
    side = 64 // 4 - 2  # the grid of filling without its rim
    assert cv2.imread(str(out / 'weights_v0.png')).shape == (side * 15, side * 15, 3)


def test_void_and_number_of_images(arguments, tmp_path):
    results = {}
    for void in ('background', 'ignore'):
        assert tool['main']([*arguments, '--arrows', '0', '--num', '1', '--void', void]) == 0
        results[void] = json.loads((tmp_path / 'out/extent.json').read_text())
        assert results[void]['num_images'] == 1 and results[void]['void'] == void
    ious = {void: result['methods']['CAM']['map']['samples']['iou'] for void, result in results.items()}
    assert ious['ignore'] != ious['background']
    assert all(a <= b + 1e-9 for a, b in zip(ious['background'], ious['ignore']))
    assert not (tmp_path / 'out/weights_v0.png').exists()


def test_model_without_filler(arguments, tmp_path):
    text = Path(arguments[0]).read_text()
    Path(arguments[0]).write_text(text + "\nmodel['filler'] = None\nmodel['post_processor'] = "
                                  "dict(type='ClassMapThreshold')\n")
    assert tool['main']([*arguments, '--arrows', '1']) == 0
    assert set(json.loads((tmp_path / 'out/extent.json').read_text())['methods']) == {'CAM', 'PRM'}


def test_errors_are_sentences(arguments, capsys):
    assert tool['main']([arguments[0], 'none.pth']) == 2 and 'none.pth does not exist' in capsys.readouterr().err
    text = Path(arguments[0]).read_text()
    Path(arguments[0]).write_text(text + "\ndel test_dataloader['dataset']['pipeline'][2]\n")
    assert tool['main'](arguments) == 2 and 'LoadVOCInstances' in capsys.readouterr().err


def test_both_views_by_hand():
    """Maps of classes 0, 0, 1; masks of classes 0, 2: the second mask has no map of its class, the third map matches
    the first mask of another class."""
    iou = np.array([[.3, .1], [.5, .6], [.2, .1]])
    found = tool['samples_of'](iou, np.array([0, 0, 1]), np.array([.25, .04]), np.array([0, 2]))
    assert found['instance'].tolist() == [[.5, .25, 0], [0., .04, 2]]
    assert found['map'].tolist() == [[.3, .25, 0], [.6, .04, 2], [.2, .25, 0]]
    assert tool['metrics'](found['map'], ('a', 'b', 'c'))['by_class'] == dict(a=.25, b=None, c=.6)
    nothing = tool['samples_of'](np.zeros((2, 0)), np.array([0, 1]), np.zeros(0), np.zeros(0, int))
    assert all(len(samples) == 0 for samples in nothing.values())
    assert tool['metrics'](nothing['map'], ('a', ))['mean'] is None


def test_size_groups_and_density():
    samples = np.array([[.1, 0., 0], [.2, .1, 0], [.4, .5, 0], [1., 1., 0]])
    assert tool['by_size'](samples, (0., .05, .1, .5, 1.)) == [
        dict(low=0., high=.05, number=1, mean=.1), dict(low=.05, high=.1, number=0, mean=None),
        dict(low=.1, high=.5, number=1, mean=.2), dict(low=.5, high=1., number=2, mean=.7)]
    smooth = extent_figures.density(np.array([[0., 0., 0], [1., .5, 0], [1., .5, 0]]))  # IoU, size, class
    assert smooth[0, 0] > smooth[0, 1] > smooth[0, 3] >= 0 and smooth.mean() == pytest.approx(1)
    assert smooth[:25, :25].sum() == pytest.approx(50 * 50 / 3)  # a third, the border's too
    assert np.unravel_index(smooth[25:].argmax(), (25, 50)) == (24, 25) and not smooth[:25, 25:].any()  # rows are IoU
    assert not extent_figures.density(np.zeros((0, 3))).any()


# -- pictures ---------------------------------------------------------------------------------------------------------
def test_field_by_hand():
    weights = np.zeros((2, 9, 1, 2))
    weights[0, 5] = [[0.6, 0.0]]  # channel mean 0.3, 0.0; average 0.15; centered 0.15, -0.15
    weights[:, 0] = [[0.2, 0.8]]  # mean 0.2, 0.8; average 0.5; centered -0.3, 0.3
    weights[:, 4] = [[0.1, 0.9]]  # the pixel itself has no direction
    expected, d = np.zeros((9, 1, 2, 2)), 0.3 * math.sqrt(0.5)
    expected[5, 0, 0] = 0.15, 0
    expected[0, 0, 1] = -d, -d
    assert np.allclose(extent_figures.vector_field(weights), expected)


def test_the_arrow_lies_where_it_points():
    weights = np.zeros((1, 9, 5, 5))
    weights[0, 5, 2, 2] = 1  # from the middle of the middle cell to the right
    picture = extent_figures.draw_field(np.full((60, 60, 3), 100, np.uint8), weights, 11)
    assert picture.shape == (33, 33, 3)  # without the rim
    rows, columns = np.nonzero(picture[..., 0] > 150)
    assert abs(rows - 16).max() <= 1 and 15 <= columns.min() <= 17 and 25 <= columns.max() <= 28
