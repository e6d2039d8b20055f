"""Grey pictures: masks and maps of salient object detection as files.

H x W are the picture's pixels.
"""
from __future__ import annotations

import numpy as np


def read_grey(path: str, what: str = 'mask') -> np.ndarray:
    """Grey levels of a picture of 8 bits, uint8 (H, W).

    Args:
        path (str): Any format that Pillow reads; colour becomes grey.
        what (str): What it is, for errors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or has more than 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(path) as image:
            deep = image.mode if image.mode.startswith(('I', 'F')) else None
            grey = None if deep else np.array(image.convert('L'))
    except FileNotFoundError:
        raise FileNotFoundError(f'{what} {path} does not exist; restore it, or remove its image from the list'
                                ) from None
    except UnidentifiedImageError as error:
        raise ValueError(f'{what} {path} is not an image that can be read; restore it') from error
    except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
        raise ValueError(f'{what} {path} is damaged ({error}); restore it') from error
    if deep:
        raise ValueError(f'{what} {path} has more than 8 bits a pixel (mode {deep}); save it as a grey picture of 8 '
                         'bits')
    return grey
