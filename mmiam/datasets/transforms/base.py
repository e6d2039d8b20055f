"""What all transforms share."""
from __future__ import annotations

from mmcv.transforms import BaseTransform


class PlainTransform(BaseTransform):
    """Base class of transforms whose ``repr`` lists their settings (their attributes), to tell caches apart."""

    def __repr__(self) -> str:
        settings = ', '.join(f'{name}={value!r}' for name, value in vars(self).items())
        return f'{type(self).__name__}({settings})'
