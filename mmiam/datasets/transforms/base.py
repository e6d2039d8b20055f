"""What the transforms share."""
from __future__ import annotations

from mmcv.transforms import BaseTransform


class PlainTransform(BaseTransform):
    """A transform whose settings are its attributes, which its text says: caches are told apart by it."""

    def __repr__(self) -> str:
        settings = ', '.join(f'{name}={value!r}' for name, value in vars(self).items())
        return f'{type(self).__name__}({settings})'
