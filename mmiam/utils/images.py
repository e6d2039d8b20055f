"""Image files before they are decoded: the size from the header, and whether the file is whole.

OpenCV decodes a truncated JPEG without an error (the missing part is grey) and says nothing that names
the file for others. The checks here cost one stat and one short read a file.
"""
from __future__ import annotations

import os

#: what the last bytes of a complete file contain, by the first bytes of its format
_END_MARKERS = {b'\xff\xd8': b'\xff\xd9', b'\x89PNG': b'IEND'}
#: how far from the end the marker is looked for (some writers append metadata)
_TAIL_BYTES = 1024
_MISSING = 'image {} does not exist; restore it or remove its id from the image list'


def check_image_file(path: str) -> None:
    """Raise if an image file is missing, empty or cut off.

    A JPEG or PNG whose end marker is in its last bytes passes at once; any other is decoded by Pillow, so
    that a file with appended data is not refused. Paths with a scheme (``s3://``) are not looked at.

    Args:
        path (str): The image file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, or no image.
    """
    if '://' in path:
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(_MISSING.format(path))
    with open(path, 'rb') as file:
        head = file.read(4)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    if size == 0:
        raise ValueError(f'image {path} is empty (0 bytes); download it again')
    for start, end in _END_MARKERS.items():
        if head.startswith(start) and end in tail:
            return
    _decode(path)


def _decode(path: str) -> None:
    """Decode all pixels by Pillow, which refuses truncated data."""
    from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f'{path} is not an image that can be read; download it again') from error
    except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
        raise ValueError(f'image {path} is damaged ({error}); download it again') from error


def image_size(path: str) -> tuple[int, int]:
    """(height, width) in pixels from the header of an image file, without decoding it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header cannot be read.
    """
    from PIL import Image
    try:
        with Image.open(path) as image:
            width, height = image.size
    except FileNotFoundError:
        raise FileNotFoundError(_MISSING.format(path)) from None
    except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
        raise ValueError(f'{path} is not an image that can be read ({error}); download it again') from error
    return height, width
