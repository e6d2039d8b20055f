import importlib.util
import subprocess
import sys
import types

import pytest

from mmiam.compat import is_light, light_mmcv, versions


def test_a_real_extension_is_never_shadowed(monkeypatch):
    real = types.ModuleType('mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', real)
    assert not is_light()
    finder = light_mmcv.LightStackFinder()
    finder.run(lambda module: monkeypatch.setitem(sys.modules, 'seen', sys.modules['mmcv._ext']), None)
    assert sys.modules['seen'] is sys.modules['mmcv._ext'] is real


def test_an_extension_that_can_be_found_is_left_to_python(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    assert not is_light()
    light_mmcv.LightStackFinder().run(lambda module: pytest.fail('stand-in') if 'mmcv._ext' in sys.modules else 0, None)


def test_operator_of_the_stand_in_says_what_to_install():
    stand_in = light_mmcv.make_stand_in()
    with pytest.raises(NotImplementedError, match='"nms" needs the compiled mmcv.*pip install'):
        stand_in.nms(1, 2)
    with pytest.raises(AttributeError):
        getattr(stand_in, '__path__')  # noqa: B009


#: prints what feature tests of other projects see, before and after ``import mmiam`` and mmdet's models
SIGHTS = """
import importlib, sys
from mmcv.utils import collect_env
from mmengine.utils.dl_utils import mmcv_full_available
def sight():
    try:
        importlib.import_module('mmcv.ops')
        ops = True
    except ModuleNotFoundError:
        ops = False
    import mmcv
    return ops, hasattr(mmcv, 'ops'), 'mmcv._ext' in sys.modules, mmcv_full_available(), collect_env()['MMCV Compiler']
before = sight()
import mmiam
assert mmiam.compat.is_light() == (not before[0])
import mmdet.models.detectors, mmdet.apis
from mmdet.models.layers import multiclass_nms
assert sight() == before, (before, sight())
import mmdet.datasets, mmdet.testing  # later imports find the operators again
assert sight() == before and multiclass_nms.__module__ == 'mmdet.models.layers.bbox_nms'
print('ok')
"""


def test_others_see_mmcv_as_it_is():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', SIGHTS], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith('ok'), done.stderr


#: what ``import mmiam`` could leave behind in a process that it is mixed into
STATE = """
import os, sys, warnings, logging, random
import cv2, mmcv, mmengine, numpy, torch, mmdet.registry
from mmengine.runner.checkpoint import CheckpointLoader
from PIL import Image
def state():
    return (dict(os.environ), logging.root.level, list(logging.root.handlers), torch.load, torch.get_num_threads(),
            torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(), random.getstate(),
            numpy.random.get_state()[1].tolist(), numpy.geterr(), numpy.get_printoptions(), cv2.getNumThreads(),
            {name: loader for name, loader in CheckpointLoader._schemes.items() if name != 'pip://'},  # ours
            Image.MAX_IMAGE_PIXELS, sys.excepthook, sys.getrecursionlimit(),
            mmengine.registry.DefaultScope.get_current_instance())
before = state()
import mmiam, mmiam.apis
assert state() == before
print('ok')
"""


def test_importing_mmiam_changes_nothing_but_the_registries():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', STATE], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith('ok'), done.stderr


@pytest.mark.parametrize('name, version', [('mmcv', '2.2.0'), ('mmdet', '2.28.0'), ('torch', '1.13.1')])
def test_version_out_of_range_names_package_and_fix(monkeypatch, name, version):
    original = versions.installed_version
    monkeypatch.setattr(versions, 'installed_version', lambda asked: version if asked == name else original(asked))
    with pytest.raises(ImportError) as error:
        versions.check_versions()
    assert f'{name} {version}' in str(error.value) and 'pip install' in str(error.value)


@pytest.mark.parametrize('torch, numpy, fits', [('2.2.2', '2.0.0', False), ('2.2.2+cpu', '1.26.4', True),
                                                ('2.3.0', '2.1.0', True)])
def test_old_torch_with_new_numpy_is_named(monkeypatch, torch, numpy, fits):
    original, faked = versions.installed_version, dict(torch=torch, numpy=numpy)
    monkeypatch.setattr(versions, 'installed_version', lambda asked: faked.get(asked) or original(asked))
    assert versions.environment_problems() == ([] if fits else [
        'torch 2.2.2 was built for NumPy 1, and numpy 2.0.0 is installed. '
        'Fix: pip install "numpy<2" "opencv-python<4.11"'])


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(versions, 'installed_version', lambda name: None)
    problems = versions.environment_problems()
    assert len(problems) == len(versions.SUPPORTED)
    assert all('is not installed' in problem and 'Fix:' in problem for problem in problems)


def test_this_environment_has_no_problem():
    assert versions.environment_problems() == []
