"""mmiam: weakly supervised instance segmentation with Instance Activation Maps, for MMDetection.

``import mmiam`` registers every component in mmdet's registries.
"""
from .compat import check_versions, install_light_stack
from .version import __version__

check_versions()
install_light_stack()

from . import datasets, engine, evaluation, models  # noqa: E402
from .visualization import visualizer  # noqa: E402, F401  (registers IAMVisualizer)

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
