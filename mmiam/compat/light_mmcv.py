"""``mmcv-lite`` in place of full ``mmcv``.

``mmdet.models`` imports ``mmcv.ops``, which loads the compiled module
``mmcv._ext``. ``mmcv-lite`` carries the Python side of ``mmcv.ops`` but not
``_ext``. mmiam calls no compiled operator, so a stand-in for ``_ext`` makes the
whole of mmdet importable; an operator that is called after all says so in one
sentence. A real ``_ext`` is never shadowed.
"""
from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types

LIGHT_STACK_MESSAGE = ('the operator "{name}" needs the compiled mmcv, and this environment has mmcv-lite. '
                       'Install the full package in its place: '
                       'pip uninstall -y mmcv-lite && pip install "mmcv>=2.0.0rc4,<2.2.0"')


class _MissingExtension(types.ModuleType):
    """Stand-in for ``mmcv._ext``: each public attribute is a function that raises."""

    is_mmiam_stand_in = True

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise NotImplementedError(LIGHT_STACK_MESSAGE.format(name=name))

        missing.__name__ = name
        return missing


def install_mmcv_stand_in() -> bool:
    """Register the stand-in when, and only when, there is no ``mmcv._ext``.

    Returns:
        bool: True if the stand-in is (now) in place, False if mmcv is the full
        build or is not installed at all.
    """
    if 'mmcv._ext' in sys.modules:
        return getattr(sys.modules['mmcv._ext'], 'is_mmiam_stand_in', False)
    if importlib.util.find_spec('mmcv') is None or importlib.util.find_spec('mmcv._ext') is not None:
        return False
    stand_in = _MissingExtension('mmcv._ext')
    stand_in.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)  # importlib asks for it
    sys.modules['mmcv._ext'] = stand_in
    return True
