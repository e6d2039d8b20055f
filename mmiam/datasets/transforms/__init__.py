from .formatting import PackWeakInputs
from .instances import LoadVOCInstances

__all__ = ['LoadVOCInstances', 'PackWeakInputs']
