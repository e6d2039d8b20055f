"""mmiam: weakly supervised instance segmentation with Instance Activation Maps, for MMDetection.

``import mmiam`` registers every component in mmdet's registries. ``mmiam.load('voc20')`` loads a published model.
"""
from .compat import check_versions, install_light_stack
from .version import __version__

check_versions()
install_light_stack()

from . import datasets, engine, evaluation, models  # noqa: E402
from .visualization import visualizer  # noqa: E402, F401  (registers IAMVisualizer)

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']


def __getattr__(name: str):
    """Import ``mmiam.apis`` and ``mmiam.load`` only when they are used: configs that import mmiam need neither."""
    if name in ('apis', 'load'):
        from importlib import import_module
        apis = import_module('mmiam.apis')
        return apis if name == 'apis' else apis.load
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
