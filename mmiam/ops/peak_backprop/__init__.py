"""Peak back-propagation (Eq. 1): Peak Response Maps of any number of peaks from one recorded forward pass."""
from .trace import Trace, peak_response_maps

__all__ = ['Trace', 'peak_response_maps']
