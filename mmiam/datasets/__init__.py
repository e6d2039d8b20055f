from . import transforms  # noqa: F401
from .saliency import SaliencyDataset
from .voc_instance import VOCInstanceDataset

__all__ = ['SaliencyDataset', 'VOCInstanceDataset']
