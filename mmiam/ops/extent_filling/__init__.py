"""Instance extent filling (Eq. 2 and 3)."""
from .filling import extent_filling, normalize_filling_weights

__all__ = ['extent_filling', 'normalize_filling_weights']
