"""Support for ``mmcv-lite`` in place of the full ``mmcv``.

``mmdet.models`` imports ``mmcv.ops``, which loads the compiled module ``mmcv._ext``. ``mmcv-lite`` carries the Python
side of ``mmcv.ops`` but not ``_ext``. mmiam calls no compiled operator, so a stand-in for ``_ext`` makes all of mmdet
importable. If an operator is called after all, it raises an error that says so in one sentence.

The stand-in exists only while a module of mmdet is being imported. All other code finds mmcv as it is: ``import
mmcv.ops`` fails on ``mmcv-lite`` and ``mmcv_full_available()`` is false, so nothing mistakes the light package for the
full one. A real ``_ext`` is never shadowed.

``light_stack.pth`` runs this file when Python starts, so that mmdet may be imported before mmiam. To cost next to
nothing, it imports nothing at that point, and the finder reacts only to names that begin with ``mmdet``.
"""
from __future__ import annotations

import sys

LIGHT_STACK_MESSAGE = ('the operator "{name}" needs the compiled mmcv, and this environment has mmcv-lite. '
                       'Install the full package in its place: '
                       'pip uninstall -y mmcv-lite && pip install "mmcv>=2.0.0rc4,<2.2.0"')


def is_light() -> bool:
    """Return whether mmcv is installed without its compiled operators."""
    import importlib.util
    extension = sys.modules.get('mmcv._ext')
    if extension is not None:
        return getattr(extension, 'is_mmiam_stand_in', False)
    try:
        return importlib.util.find_spec('mmcv._ext') is None
    except ModuleNotFoundError:  # no mmcv at all
        return False


def make_stand_in():
    """Make a module ``mmcv._ext`` whose public attributes are functions that raise NotImplementedError."""
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    class MissingExtension(ModuleType):
        is_mmiam_stand_in = True

        def __getattr__(self, name):
            if name.startswith('__'):
                raise AttributeError(name)

            def missing(*args, **kwargs):
                raise NotImplementedError(LIGHT_STACK_MESSAGE.format(name=name))

            missing.__name__ = name
            return missing

    module = MissingExtension('mmcv._ext')
    module.__spec__ = ModuleSpec('mmcv._ext', loader=None)  # mmcv_full_available() checks for a loader
    return module


class LightStackFinder:
    """Finder for ``sys.meta_path`` that makes ``mmcv.ops`` visible to modules of mmdet, on the light stack only."""

    def __init__(self):
        self.depth = 0  # of nested imports of mmdet modules
        self.kept = {}  # mmcv.ops and its submodules, kept between two imports

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] != 'mmdet':
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, 'find_spec', None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None:
            run = spec.loader.exec_module
            # patch the loader that was found: inspect and pkgutil ask it for source and data, so ours would not do
            spec.loader.exec_module = lambda module: self.run(run, module)
        return spec

    def run(self, run, module):
        """Execute a module of mmdet; the outermost of nested imports shows the operators and hides them again."""
        if self.depth == 0:
            self.show()
        self.depth += 1
        try:
            run(module)
        finally:
            self.depth -= 1
            if self.depth == 0:
                self.hide()

    def show(self):
        if not is_light():
            return
        # the same module objects each time: a second copy would register every operator of mmcv twice
        sys.modules.update(self.kept or {'mmcv._ext': make_stand_in()})
        if 'mmcv.ops' in self.kept:
            sys.modules['mmcv'].ops = self.kept['mmcv.ops']

    def hide(self):
        if not getattr(sys.modules.get('mmcv._ext'), 'is_mmiam_stand_in', False):
            return
        names = [name for name in sys.modules if name == 'mmcv._ext' or f'{name}.'.startswith('mmcv.ops.')]
        self.kept = {name: sys.modules.pop(name) for name in names}
        vars(sys.modules['mmcv']).pop('ops', None)


def install_light_stack() -> None:
    """Put the finder first in ``sys.meta_path``, unless it is there already (from the start of Python)."""
    if not any(type(finder).__name__ == LightStackFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, LightStackFinder())
