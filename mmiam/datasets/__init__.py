from . import transforms  # noqa: F401
from .voc_instance import VOCInstanceDataset

__all__ = ['VOCInstanceDataset']
