from . import transforms  # noqa: F401
from .saliency import SaliencyDataset
from .voc_instance import VOCInstanceDataset
from .weak_label import WeakLabelDataset

__all__ = ['SaliencyDataset', 'VOCInstanceDataset', 'WeakLabelDataset']
