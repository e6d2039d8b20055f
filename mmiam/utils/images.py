"""Image files: which ones there are, their size before anything is decoded, whether they are whole, and their pixels.

Legend: H, W are the pixels of an image as it is shown: turned as its EXIF orientation says, which is how mmcv's loader
reads it. Masks and proposals have that size.
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

#: what OpenCV and Pillow read, in lower case
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff')
#: of any image, mask or set of proposals; more is a damaged file, or one made to fill the memory (our choice: 16,384²)
MAX_PIXELS = 2**28
#: what the last bytes of a complete file contain, by the first bytes of its format
_END_MARKERS = {b'\xff\xd8': b'\xff\xd9', b'\x89PNG': b'IEND'}
#: how far from the end the marker is looked for (some writers append metadata)
_TAIL_BYTES = 1024
_ORIENTATION = 0x112  # of EXIF; 5 to 8 lie on their side


def check_sides(height: int, width: int, what: str) -> tuple[int, int]:
    """(H, W) as a file states it, before anything of that size is made.

    Raises:
        ValueError: if a side is not positive, or there are more than ``MAX_PIXELS``; it begins with ``what``.
    """
    if not (is_count(height) and is_count(width) and height and width):
        raise ValueError(f'{what} has {height!s:.40} x {width!s:.40} pixels (H x W)')
    if height * width > MAX_PIXELS:
        raise ValueError(f'{what} has {height} x {width} pixels (H x W), and more than {MAX_PIXELS} in all are not '
                         'read; make it smaller or cut it into parts')
    return height, width


@contextmanager
def _opened(path: str | Path, what: str, remedy: str) -> Iterator[Image.Image]:
    """An image of Pillow whose header is read; what goes wrong then or later names the file."""
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise ValueError(f'{what} {path} is no file')  # whoever opens a pipe waits for its other end
        with open(path, 'rb') as file:  # of a name Pillow maps the pixels, and those of a turned TIFF are in no order
            # MAX_PIXELS is the limit here. Pillow's own is a variable of its module, which is others' too: put back
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
    except Exception as error:  # Pillow raises whatever it stumbles over in a damaged file
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f'{what} {path} is damaged ({error}); {remedy}') from error


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image as it is shown, from its header; nothing is decoded.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header cannot be read, or states more than ``MAX_PIXELS``.
    """
    with _opened(path, 'image', 'download it again') as image:
        width, height = image.size
        if image.format == 'TIFF':  # newer versions of Pillow turn its size, and not its orientation, at once
            width, height = (image.tag_v2[tag] for tag in (IMAGEWIDTH, IMAGELENGTH))
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def check_image_file(path: str | Path) -> tuple[int, int]:
    """Size of an image file that is whole; OpenCV decodes a truncated JPEG without an error, its rest gray.

    A JPEG or PNG whose end marker is in its last bytes passes at once; any other is decoded by Pillow, so that a file
    with appended data is not refused.

    Returns:
        tuple[int, int]: (H, W), as of :func:`image_size`.

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
    """Pixels of an image file that is whole: RGB, uint8 (H, W, 3); gray, alpha and 16 bits become that.

    Raises:
        FileNotFoundError, ValueError: as :func:`check_image_file` does.
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
    """An image as it is shown. Decoding turns a TIFF at once, and a second time would be wrong."""
    image.load()
    return ImageOps.exif_transpose(image)


def read_pixels(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Values of a picture as they are stored: (H, W) indices or gray levels, or (H, W, channels).

    Args:
        path (str | Path): Any format that Pillow reads.
        what (str): What it is, for errors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or too large.
    """
    with _opened(path, what, 'restore it') as image:
        return np.array(_turned(image))


def read_gray(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Gray levels of a picture of 8 bits, uint8 (H, W); color becomes gray.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_pixels`; also if the file has more than 8 bits a channel.
    """
    with _opened(path, what, 'restore it') as image:
        if image.mode.startswith(('I', 'F')):
            raise ValueError(f'{what} {path} has more than 8 bits a pixel (mode {image.mode}); save it as a gray '
                             'picture of 8 bits')
        return np.array(_turned(image).convert('L'))


def read_indices(path: str | Path, what: str = 'mask') -> np.ndarray:
    """Indices of a palette or gray picture, (H, W): uint8, or uint16 where the file has more than 8 bits a pixel.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_pixels`; also if the file holds colors and not indices, or
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
    """Write a picture, uint8, RGB (H, W, 3) or gray (H, W), as JPEG where the name says so, else as PNG; whole or not
    at all."""
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
    """Refuse what is no image: before anything resizes it, which would fail, or take other values for pixels.

    Raises:
        ValueError: for anything but an array of uint8, or of finite floats from 0 to 255, of one or three channels.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f'an image is the path of a file as text, or an array (H, W, 3), got a {type(image).__name__}')
    if image.dtype not in (np.uint8, np.float32, np.float64) or not image.size or not (
            image.ndim == 2 or image.ndim == 3 and image.shape[2] in (1, 3)):
        raise ValueError('an image is an array (H, W, 3), or gray (H, W) or (H, W, 1), of uint8 or float32, got '
                         f'{image.shape} of {image.dtype}; take alpha and other channels off, and scale other numbers')
    if not (image.min() >= 0 and image.max() <= 255):  # NaN is neither
        raise ValueError(f'an image has finite numbers from 0 to 255, got {image.min()} to {image.max()}')


def to_numpy(array: Any) -> np.ndarray:
    """A tensor (detached, on the CPU) or anything array-like as a NumPy array."""
    if hasattr(array, 'detach'):
        array = array.detach().cpu()
        if str(array.dtype) == 'torch.bfloat16':  # NumPy has no such type
            array = array.float()
    return np.asarray(array)


def list_images(folder: str | Path, recursive: bool = False, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """Names of the images in a folder, sorted: paths relative to it, with ``/``.

    Files of other suffixes are passed over, and counted in the log; hidden files and folders are none of it.

    Args:
        folder (str | Path): The folder.
        recursive (bool): Also those of the folders below. Links to folders are followed, but none that leads to a
            folder which holds the link itself.
        suffixes (tuple[str]): of images, in lower case.

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
    """Whether a folder below ``root`` is a link to one in which it lies itself, by whatever links; the log says so."""
    place = path.resolve()
    above = [folder.resolve() for folder in path.parents if folder == root or root in folder.parents]
    if not any(place == folder or place in folder.parents for folder in above):
        return False
    print_log(f'{path} leads back to {place}, which holds it, and is passed over', logger='current')
    return True


def by_stem(names: Iterable[str], where: str | Path) -> dict[str, str]:
    """Name without suffix -> name. Proposals are kept by the former, so that two images may not share it.

    Raises:
        ValueError: if two names differ in the suffix alone; it begins with ``where``.
    """
    stems: dict[str, str] = {}
    for name in names:
        other = stems.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise ValueError(f'{where}: {other} and {name} differ in the suffix alone, and proposals are kept by the '
                             'name without it; rename or move one, or list the images that you mean')
    return stems
