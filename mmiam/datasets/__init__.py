from . import transforms  # noqa: F401
from .cub import CUBDataset
from .saliency import SaliencyDataset
from .voc_instance import VOCInstanceDataset
from .voc_localization import VOCSingleObjectDataset
from .weak_label import WeakLabelDataset

__all__ = ['CUBDataset', 'SaliencyDataset', 'VOCInstanceDataset', 'VOCSingleObjectDataset', 'WeakLabelDataset']
