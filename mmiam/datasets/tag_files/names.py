"""Names of images and classes, and the result of all readers of tags."""
from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field

from ..image_files import is_file_name

_INVISIBLE = '\u200b\u200c\u200d\u2060\ufeff'


@dataclass
class TaggedImage:
    """Name and tags (class names, in the order found) of one image; ``source_id`` is its unchanged id in COCO json."""
    name: str
    tags: list[str]
    source_id: int | float | str | None = None


@dataclass
class TaggedImages:
    """All images of a source, and its class names: categories in the order of the file, or else tags in sorted order.

    ``category_ids`` contains the id of each class in COCO json, unchanged.
    """
    images: list[TaggedImage]
    classes: tuple[str, ...] = ()
    category_ids: dict[str, int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes = self.classes or tuple(sorted({tag for image in self.images for tag in image.tags}))


def clean_class_name(text: str) -> str:
    """Strip spaces, and compose letters: depending on the system that wrote it, é is one character or two."""
    return unicodedata.normalize('NFC', text.strip().strip(_INVISIBLE).strip())


def safe_name(name, where: str) -> str:
    """Check that a name is a relative path that stays below the image folder, and return its shortest form.

    Raises:
        ValueError: if it is not text, has control characters, is absolute or leads out of the folder; the message
            begins with ``where``.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'{where}: {name!r} is not the name of an image file')
    clean = os.path.normpath(name.replace('\\', '/')).replace(os.sep, '/')
    parts = clean.split('/')
    if parts[0] in ('', '.', '..') or re.match(r'[A-Za-z]:[\\/]|[A-Za-z][\w+.-]*://', name):
        raise ValueError(f'{where}: {name!r} leads out of the image folder; write paths relative to img_root, '
                         'without ".."')
    if not all(map(is_file_name, parts)):
        raise ValueError(f'{where}: {name!r} is not the name of an image file')
    return clean
