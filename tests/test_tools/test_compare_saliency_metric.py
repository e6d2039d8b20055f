import sys
import types

import numpy as np
import pytest
from PIL import Image
from support import load_tool

from mmiam.evaluation.functional.saliency import image_saliency

tool = vars(load_tool('tools/analysis_tools/compare_saliency_metric.py'))


def stand_in(shift=0.):
    """A module with the toolbox's interface, on our own functions; ``shift`` is added to its MAE."""

    class Both:

        def __init__(self):
            self.changeable_fms, self.adaptive_fms, self.maes = [], [], []

        def step(self, pred, gt, normalize):
            assert not normalize and pred.dtype == np.float64 and gt.dtype == bool
            one = image_saliency(pred, gt)
            self.changeable_fms.append(one.curve)
            self.adaptive_fms.append(one.adaptive)
            self.maes.append(one.mae + shift)

        def get_results(self):
            fm = dict(adp=np.mean(self.adaptive_fms), curve=np.mean(self.changeable_fms, axis=0))
            return dict(fm=fm, mae=np.mean(self.maes))

    return types.SimpleNamespace(Fmeasure=Both, MAE=Both, __name__='stand_in')


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def test_random_cases(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'py_sod_metrics', stand_in())
    assert tool['main'](['--random', '20']) == 0 and '20 images' in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, 'py_sod_metrics', stand_in(shift=1e-3))
    assert tool['main'](['--random', '3']) == 1
    assert tool['main'](['--random', '3', '--tolerance', '0.01']) == 0


def test_the_toolbox_itself(capsys):
    pytest.importorskip('py_sod_metrics', reason='optional, in an environment of its own: pip install pysodmetrics')
    assert tool['main'](['--random', '40']) == 0


def test_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'py_sod_metrics', stand_in())
    write(tmp_path / 'maps/Plane/1.png', [[0, 51, 255]])
    write(tmp_path / 'masks/Plane/1.png', [[0, 255, 255]])
    flags = ['--maps', str(tmp_path / 'maps'), '--masks', str(tmp_path / 'masks')]
    assert tool['main'](flags) == 0
    out = capsys.readouterr().out
    assert f'MAE        ours {(.8 / 3):.10f}' in out
    write(tmp_path / 'masks/Plane/1.png', [[0, 255, 3]])  # as indices the last pixel alone is foreground
    assert tool['main']([*flags, '--index-masks']) == 0
    assert f'MAE        ours {(.2 / 3):.10f}' in capsys.readouterr().out
    (tmp_path / 'masks/Plane/1.png').unlink()
    assert tool['main'](flags) == 2 and 'masks/Plane/1.png does not exist' in capsys.readouterr().err
    assert tool['main'](['--maps', str(tmp_path / 'masks'), '--masks', 'x']) == 2
    assert 'save_dir' in capsys.readouterr().err


def test_without_toolbox_or_input(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'py_sod_metrics', None)
    assert tool['main'](['--random', '3']) == 2 and 'pip install pysodmetrics' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool['main']([])
