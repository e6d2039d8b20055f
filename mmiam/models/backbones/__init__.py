from .efficientnet_lite import EfficientNetLite
from .geometry import cell_offset

__all__ = ['EfficientNetLite', 'cell_offset']
