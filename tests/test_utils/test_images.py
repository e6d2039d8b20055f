import os
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmiam.utils.images import (
    MAX_PIXELS,
    by_stem,
    check_array,
    check_image_file,
    image_size,
    list_images,
    read_gray,
    read_image,
    read_indices,
)

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize('name, change, message', [
    ('a.jpg', lambda data: data[:len(data) // 2], 'is damaged .*download'),
    ('a.png', lambda data: data[:len(data) // 2], 'is damaged .*download'),
    ('a.bmp', lambda data: data[:len(data) // 2], 'is damaged .*download'),
    ('a.jpg', lambda data: b'', 'is empty'), ('a.jpg', lambda data: b'no image at all' * 9, 'is not an image')])
def test_a_file_that_is_not_whole_is_named(tmp_path, name, change, message):
    Image.fromarray(PIXELS).save(path := tmp_path / name)
    assert check_image_file(str(path)) == image_size(path) == (20, 30)
    content = path.read_bytes()
    path.write_bytes(content + bytes(5000))  # appended data is no damage
    check_image_file(path)
    path.write_bytes(change(content))
    with pytest.raises(ValueError, match=f'{name} {message}'):
        check_image_file(path)
    path.unlink()
    for read in (check_image_file, image_size):
        with pytest.raises(FileNotFoundError, match=f'{name} .*restore'):
            read(path)


@pytest.mark.parametrize('suffix, orientation', [('.jpg', 1), ('.jpg', 3), ('.jpg', 6), ('.png', 8), ('.webp', 5),
                                                 ('.tif', 4), ('.tif', 6)])
def test_the_size_is_that_of_the_turned_image(tmp_path, suffix, orientation):
    """As mmcv's loader turns it."""
    if suffix == '.webp' and cv2.__version__ < '4.11':
        pytest.skip('OpenCV before 4.11 does not read WebP files with EXIF data')
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(PIXELS).save(path := tmp_path / f'a{suffix}', exif=exif.tobytes())
    size = image_size(path)
    assert size == ((20, 30) if orientation < 5 else (30, 20)) == check_image_file(path)
    assert read_image(path).shape == (*size, 3)
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    expected = {1: mask, 3: mask[::-1, ::-1], 4: mask[::-1], 5: mask.T, 6: mask[::-1].T, 8: mask[:, ::-1].T}
    for name in ('mask.png', 'mask.tif'):
        Image.fromarray(mask).save(tmp_path / name, exif=exif.tobytes())
        np.testing.assert_array_equal(read_indices(tmp_path / name), expected[orientation])


@pytest.mark.parametrize('make, message', [
    (os.mkfifo, 'is no file'),  # whoever opens a pipe waits for its other end
    # for PostScript Pillow starts an interpreter
    (lambda path: Image.new('RGB', (4, 4)).save(path, 'EPS'), 'is PostScript, a program')])
def test_what_is_no_picture_is_not_opened(tmp_path, make, message):
    make(tmp_path / 'a.jpg')
    with pytest.raises(ValueError, match=f'a.jpg {message}'):
        read_image(tmp_path / 'a.jpg')


@pytest.mark.parametrize('image', [
    None, [[0]], np.zeros((4, 4, 3), np.int64), np.zeros((4, 4, 3), bool), np.zeros((4, 4, 3), np.float16),
    np.zeros((4, 4, 3), object), np.zeros((0, 0, 3), np.uint8), np.zeros((3, 40, 40), np.uint8),
    np.zeros((1, 4, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8), np.full((4, 4, 3), 1e30), np.full((4, 4), np.nan),
    np.full((4, 4, 3), -1.)])
def test_arrays_that_are_no_images(image):
    for good in (np.zeros((4, 4), np.uint8), np.full((4, 4, 1), 255.), np.zeros((4, 4, 3), np.float32)[::-1]):
        check_array(good)
    with pytest.raises(ValueError, match='an image (is|has)'):
        check_array(image)


def png(height, width):
    """Bytes of a black picture of one bit a pixel: a few kB whatever its size."""
    def chunk(name, body):
        return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

    rows = zlib.compress(bytes(1 + (width + 7) // 8) * height, 9)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)) + chunk(
        b'IDAT', rows) + chunk(b'IEND', b'')


def test_the_limit_on_pixels_is_ours_and_stated(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    path.write_bytes(png(14000, 14000))  # Pillow refuses it by itself
    assert image_size(path) == (14000, 14000) and Image.MAX_IMAGE_PIXELS < 10**8
    path.write_bytes(png(20000, 20000))
    tracemalloc.start()
    for read in (image_size, check_image_file, read_image, read_gray, read_indices):
        with pytest.raises(ValueError, match=f'a.png has 20000 x 20000 pixels.* more than {MAX_PIXELS} .*smaller'):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_indices_of_16_bits(tmp_path):
    values = np.array([[0, 255, 256], [400, 65535, 3]], np.uint16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(found := read_indices(tmp_path / 'a.png'), values)
    assert found.dtype == np.uint16


@pytest.mark.parametrize('values, read, message', [
    (np.array([[0, 70000]], np.int32), read_indices, 'holds indices from 0 to 70000'),
    (PIXELS, read_indices, 'holds colors, not indices'),
    (np.ones((2, 2), np.uint16), read_gray, 'has more than 8 bits')])
def test_pictures_of_other_values(values, read, message, tmp_path):
    Image.fromarray(values).save(tmp_path / 'a.tif')
    with pytest.raises(ValueError, match=f'a.tif {message}'):
        read(tmp_path / 'a.tif')


def test_the_lister_follows_links_once_and_says_what_it_passes_over(tmp_path, logged):
    for name in ('real/1.jpg', 'real/2.JFIF', 'real/3.heic', 'real/.4.jpg', 'root/a/5.png', 'root/6.tif'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / 'root'
    (root / 'linked').symlink_to(tmp_path / 'real')
    (root / 'a' / 'inner').symlink_to(tmp_path / 'real')
    (root / 'a' / 'up').symlink_to('..')
    (root / 'a' / 'self').symlink_to('.')
    (root / 'out').symlink_to('..')
    (tmp_path / 'real' / 'back').symlink_to(root)
    assert list_images(root) == ['6.tif']
    logged.clear()
    assert list_images(root, recursive=True) == ['6.tif', 'a/5.png', 'a/inner/1.jpg', 'a/inner/2.JFIF', 'linked/1.jpg',
                                                'linked/2.JFIF']
    assert 'root: 2 files passed over: 2 .heic; images are .jpg' in logged.pop()
    assert len(logged) == 5 and all('leads back to' in line for line in logged)
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        list_images(tmp_path / 'none')


def test_names_that_would_share_their_proposals():
    assert by_stem(['a/1.jpg', 'b/1.png', 'x.y.jpg'], 'x') == {'a/1': 'a/1.jpg', 'b/1': 'b/1.png', 'x.y': 'x.y.jpg'}
    with pytest.raises(ValueError, match='photos: 1.jpg and 1.png differ in the suffix alone'):
        by_stem(['1.jpg', '1.png'], 'photos')
