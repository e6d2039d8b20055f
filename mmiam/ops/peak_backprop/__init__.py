"""Peak back-propagation (Eq. 1): Peak Response Maps of all peaks of an image in one backward pass."""
from .trace import Trace, peak_response_maps, trace

__all__ = ['Trace', 'peak_response_maps', 'trace']
