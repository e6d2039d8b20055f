"""Image files: listing them, reading their size without decoding, checking that they are complete, reading pixels.

Legend: H and W are the size in pixels of an image as it is displayed, that is, rotated according to its EXIF
orientation, which is how mmcv's loader reads it. Masks and proposals have that size.
"""
from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH

from .files import atomic_write, is_count

#: suffixes of the formats that OpenCV and Pillow read, in lower case
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff')
#: limit for an image, mask or set of proposals; a larger file is damaged, or made to exhaust memory (our choice:
#: 16,384²)
MAX_PIXELS = 2**28
#: marker in the last bytes of a complete file, by the first bytes of its format
_END_MARKERS = {b'\xff\xd8': b'\xff\xd9', b'\x89PNG': b'IEND'}
#: number of bytes at the end in which the marker is searched (some writers append metadata)
_TAIL_BYTES = 1024
_ORIENTATION = 0x112  # EXIF tag; values 5 to 8 swap height and width


def check_sides(height: int, width: int, what: str) -> tuple[int, int]:
    """Check the (H, W) that a file states, before anything of that size is allocated.

    Raises:
        ValueError: if a side is not positive, or there are more than ``MAX_PIXELS``; the message begins with ``what``.
    """
    if not (is_count(height) and is_count(width) and height and width):
        raise ValueError(f'{what} has {height!s:.40} x {width!s:.40} pixels (H x W)')
    if height * width > MAX_PIXELS:
        raise ValueError(f'{what} has {height} x {width} pixels (H x W), and more than {MAX_PIXELS} in all are not '
                         'read; make it smaller or cut it into parts')
    return height, width


@contextmanager
def _opened(path: str | Path, what: str, remedy: str) -> Iterator[Image.Image]:
    """Open an image with Pillow, reading only its header; errors then and later name the file."""
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise ValueError(f'{what} {path} is no file')  # opening a pipe would wait for its other end
        with open(path, 'rb') as file:  # given a name, Pillow maps the pixels into memory and garbles a rotated TIFF
            # MAX_PIXELS is the limit here. Pillow's own is a global of its module, shared with others: restored below
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(file)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
            if image.format == 'EPS':
                raise ValueError(f'{what} {path} is PostScript, a program; save it as PNG')
            check_sides(image.height, image.width, f'{what} {path}')
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f'{what} {path} does not exist; restore it, or remove it from the list of images'
                                ) from None
    except (PermissionError, IsADirectoryError):  # they name the file
        raise
    except UnidentifiedImageError as error:
        empty = os.path.isfile(path) and not os.path.getsize(path)
        raise ValueError(f'{what} {path} is ' + ('empty (0 bytes)' if empty else 'not an image that can be read')
                         + f'; {remedy}') from error
    except Exception as error:  # Pillow raises all kinds of errors on a damaged file
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f'{what} {path} is damaged ({error}); {remedy}') from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Read the (H, W) of an image as it is displayed from its header, without decoding it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header cannot be read, or states more than ``MAX_PIXELS``.
    """
    with _opened(path, 'image', 'download it again') as image:
        width, height = image.size
        if image.format == 'TIFF':  # newer versions of Pillow swap its size at once but keep the orientation
            width, height = (image.tag_v2[tag] for tag in (IMAGEWIDTH, IMAGELENGTH))
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def check_image_file(path: str | Path) -> tuple[int, int]:
    """Check that an image file is complete; OpenCV would decode a truncated JPEG without an error, the rest in gray.

    A JPEG or PNG with its end marker in the last bytes passes at once; any other file is decoded by Pillow, so that a
    file with appended data is not refused.

    Returns:
        tuple[int, int]: (H, W), see :func:`image_size`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, too large or no image.
    """
    size = image_size(path)
    with open(path, 'rb') as file:
        head = file.read(4)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        tail = file.read()
    if not any(head.startswith(start) and end in tail for start, end in _END_MARKERS.items()):
        with _opened(path, 'image', 'download it again') as image:
            image.load()
    return size


def read_image(path: str | Path) -> np.ndarray:
    """Read a complete image file as RGB, uint8 (H, W, 3); gray images, alpha and 16 bits are converted.

    Raises:
        FileNotFoundError, ValueError: see :func:`check_image_file`.
    """
    import mmcv
    size = check_image_file(path)
    try:
        image = mmcv.imread(str(path), channel_order='rgb')
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != size:
        raise ValueError(f'image {path} is damaged, or of a kind that OpenCV does not read; save it as PNG or JPEG')
    return image


def _turned(image: Image.Image) -> Image.Image:
    """Rotate an image to how it is displayed.

    It is decoded first: that already rotates a TIFF, which must not be rotated twice.
    """
    image.load()
    return ImageOps.exif_transpose(image)


def read_pixels(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Read the values of an image as they are stored: (H, W) indices or gray levels, or (H, W, channels).

    Args:
        path (str | Path): The file, in any format that Pillow reads.
        what (str): What to call the file in messages.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or too large.
    """
    with _opened(path, what, 'restore it') as image:
        return np.array(_turned(image))


def read_gray(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Read an 8-bit image as gray levels, uint8 (H, W); color is converted to gray.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_pixels`; also if the file has more than 8 bits per channel.
    """
    with _opened(path, what, 'restore it') as image:
        if image.mode.startswith(('I', 'F')):
            raise ValueError(f'{what} {path} has more than 8 bits a pixel (mode {image.mode}); save it as a gray '
                             'picture of 8 bits')
        return np.array(_turned(image).convert('L'))


def read_indices(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Read the indices of a palette or gray image, (H, W): uint8, or uint16 if the file has more than 8 bits per pixel.

    Raises:
        FileNotFoundError, ValueError: see :func:`read_pixels`; also if the file holds colors rather than indices, or
            indices beyond 16 bits.
    """
    indices = read_pixels(path, what)
    if indices.ndim != 2 or indices.dtype.kind not in 'bui':
        raise ValueError(f'{what} {path} holds colors, not indices; save it as a palette PNG (mode P), or as a gray '
                         'PNG of 16 bits')
    if indices.dtype.itemsize == 1:
        return indices.astype(np.uint8)
    if indices.min() < 0 or indices.max() > 65535:
        raise ValueError(f'{what} {path} holds indices from {indices.min()} to {indices.max()}; number them from 0 to '
                         '65535')
    return indices.astype(np.uint16)


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an image, uint8, RGB (H, W, 3) or gray (H, W), completely or not at all.

    It becomes a JPEG if the name ends so, and a PNG otherwise.
    """
    suffix = os.path.splitext(path)[1].lower()
    picture = np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture)  # OpenCV's order is BGR
    data = cv2.imencode(suffix if suffix in ('.jpg', '.jpeg') else '.png', picture)[1]
    atomic_write(path, data.tobytes())


def write_palette_picture(path: str | Path, indices: np.ndarray, palette: Sequence[int]) -> None:
    """Write indices, uint8 (H, W), as a palette PNG; ``palette``: R, G, B of index 0, of index 1, and so on."""
    picture, buffer = Image.fromarray(indices), io.BytesIO()
    picture.putpalette(list(palette))
    picture.save(buffer, 'PNG')
    atomic_write(path, buffer.getvalue())


def check_array(image: Any) -> None:
    """Refuse arrays that are not images, before resizing fails on them or takes other values for pixels.

    Raises:
        ValueError: for anything but an array of uint8, or of finite floats from 0 to 255, with one or three channels.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f'an image is the path of a file as text, or an array (H, W, 3), got a {type(image).__name__}')
    if image.dtype not in (np.uint8, np.float32, np.float64) or not image.size or not (
            image.ndim == 2 or image.ndim == 3 and image.shape[2] in (1, 3)):
        raise ValueError('an image is an array (H, W, 3), or gray (H, W) or (H, W, 1), of uint8 or float32, got '
                         f'{image.shape} of {image.dtype}; take alpha and other channels off, and scale other numbers')
    if not (image.min() >= 0 and image.max() <= 255):  # false for NaN
        raise ValueError(f'an image has finite numbers from 0 to 255, got {image.min()} to {image.max()}')


def to_numpy(array: Any) -> np.ndarray:
    """Convert a tensor (detached and moved to the CPU) or anything array-like to a NumPy array."""
    if hasattr(array, 'detach'):
        array = array.detach().cpu()
        if str(array.dtype) == 'torch.bfloat16':  # NumPy has no such type
            array = array.float()
    return np.asarray(array)


def list_images(folder: str | Path, recursive: bool = False, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """List the images in a folder, sorted, as paths relative to it, with ``/``.

    Files with other suffixes are skipped and counted in the log; hidden files and folders are ignored silently.

    Args:
        folder (str | Path): The folder.
        recursive (bool): Also list subfolders. Links to folders are followed, except those that lead to a folder
            containing the link itself.
        suffixes (tuple[str]): Suffixes of images, in lower case.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'image folder {folder} does not exist')

    def fail(error: OSError) -> None:
        raise error

    root, found, others = Path(folder), [], Counter()
    for here, folders, names in os.walk(root, onerror=fail, followlinks=True):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if not name.startswith('.') and suffix in suffixes:
                found.append(Path(here, name).relative_to(root).as_posix())
            elif not name.startswith('.'):
                others[suffix] += 1
        folders[:] = [name for name in folders if recursive and not name.startswith('.')
                      and not _leads_back(Path(here, name), root)]
    if others:
        counts = ', '.join(f'{number} {suffix or "without suffix"}' for suffix, number in others.most_common())
        print_log(f'{folder}: {sum(others.values())} files passed over: {counts}; images are '
                  f'{", ".join(IMAGE_SUFFIXES)}', logger='current')
    return sorted(found)


def _leads_back(path: Path, root: Path) -> bool:
    """Tell whether a folder below ``root`` is a link to a folder that contains it, directly or through other links.

    If so, the log says so.
    """
    place = path.resolve()
    above = [folder.resolve() for folder in path.parents if folder == root or root in folder.parents]
    if not any(place == folder or place in folder.parents for folder in above):
        return False
    print_log(f'{path} leads back to {place}, which holds it, and is passed over', logger='current')
    return True


def by_stem(names: Iterable[str], where: str | Path) -> dict[str, str]:
    """Map names without suffix to names. Proposals are stored by the former, so no two images may share it.

    Raises:
        ValueError: if two names differ only in their suffix; the message begins with ``where``.
    """
    stems: dict[str, str] = {}
    for name in names:
        other = stems.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise ValueError(f'{where}: {other} and {name} differ in the suffix alone, and proposals are kept by the '
                             'name without it; rename or move one, or list the images that you mean')
    return stems
