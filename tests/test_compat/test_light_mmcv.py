import subprocess
import sys
import types

import pytest

from mmiam.compat import light_mmcv, versions


def test_stand_in_never_shadows_a_real_extension(monkeypatch):
    real = types.ModuleType('mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', real)
    assert light_mmcv.install_mmcv_stand_in() is False
    assert sys.modules['mmcv._ext'] is real


def test_stand_in_is_not_installed_where_the_extension_can_be_found(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.setattr(light_mmcv.importlib.util, 'find_spec', lambda name: object())
    assert light_mmcv.install_mmcv_stand_in() is False
    assert 'mmcv._ext' not in sys.modules


def test_operator_of_the_stand_in_says_what_to_install():
    stand_in = light_mmcv._MissingExtension('mmcv._ext')
    with pytest.raises(NotImplementedError, match='"nms" needs the compiled mmcv.*pip install'):
        stand_in.nms(1, 2)
    with pytest.raises(AttributeError):
        getattr(stand_in, '__path__')  # noqa: B009


def test_importing_mmiam_makes_mmdet_importable_in_a_fresh_process():
    code = ('import mmiam, mmdet.models; from mmengine.utils.dl_utils.misc import mmcv_full_available as full; '
            'import sys; light = getattr(sys.modules["mmcv._ext"], "is_mmiam_stand_in", False); '
            'assert full() == (not light); print("ok")')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith('ok'), done.stderr


@pytest.mark.parametrize('name, version', [('mmcv', '2.2.0'), ('mmdet', '2.28.0'), ('torch', '1.13.1')])
def test_version_out_of_range_names_package_and_fix(monkeypatch, name, version):
    original = versions.installed_version
    monkeypatch.setattr(versions, 'installed_version', lambda asked: version if asked == name else original(asked))
    with pytest.raises(ImportError) as error:
        versions.check_versions()
    assert f'{name} {version}' in str(error.value) and 'pip install' in str(error.value)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(versions, 'installed_version', lambda name: None)
    problems = versions.environment_problems()
    assert len(problems) == len(versions.SUPPORTED)
    assert all('is not installed' in problem and 'Fix:' in problem for problem in problems)


def test_this_environment_has_no_problem():
    assert versions.environment_problems() == []
