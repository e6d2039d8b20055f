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


def noise(path, mode='RGB', size=(40, 30)):
    rng = np.random.default_rng(0)
    channels = {'L': (), 'RGB': (3, ), 'RGBA': (4, )}[mode]
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], *channels), dtype=np.uint8), mode).save(path)
    return path


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_whole_file_passes_and_truncated_one_is_named(tmp_path, suffix):
    path = noise(tmp_path / f'cut{suffix}')
    assert check_image_file(str(path)) == image_size(str(path)) == (30, 40)
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match=f'cut{suffix}.*damaged.*download'):
        check_image_file(str(path))


def test_appended_data_is_no_damage(tmp_path):
    path = noise(tmp_path / 'long.jpg')
    path.write_bytes(path.read_bytes() + bytes(5000))
    check_image_file(str(path))


@pytest.mark.parametrize('content, match', [(b'', 'empty'), (b'no image at all' * 9, 'not an image')])
def test_no_image(tmp_path, content, match):
    path = tmp_path / 'text.jpg'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'text.jpg.*{match}'):
        check_image_file(str(path))
    with pytest.raises(ValueError, match='text.jpg'):
        image_size(str(path))
    for read in (check_image_file, image_size):
        with pytest.raises(FileNotFoundError, match='gone.jpg.*restore'):
            read(str(tmp_path / 'gone.jpg'))


@pytest.mark.parametrize('suffix, orientation', [('.jpg', 1), ('.jpg', 3), ('.jpg', 6), ('.png', 8), ('.webp', 5),
                                                 ('.tif', 4), ('.tif', 6)])
def test_the_size_is_that_of_the_turned_image(tmp_path, suffix, orientation):
    """As mmcv's loader turns it."""
    if suffix == '.webp' and cv2.__version__ < '4.11':
        pytest.skip('OpenCV before 4.11 does not read WebP files with EXIF data')
    exif = Image.Exif()
    exif[0x112] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'a{suffix}', exif=exif.tobytes())
    size = image_size(tmp_path / f'a{suffix}')
    assert size == ((20, 30) if orientation < 5 else (30, 20)) == check_image_file(tmp_path / f'a{suffix}')
    assert read_image(tmp_path / f'a{suffix}').shape == (*size, 3)
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    expected = {1: mask, 3: mask[::-1, ::-1], 4: mask[::-1], 5: mask.T, 6: mask[::-1].T, 8: mask[:, ::-1].T}
    for name in ('mask.png', 'mask.tif'):
        Image.fromarray(mask).save(tmp_path / name, exif=exif.tobytes())
        np.testing.assert_array_equal(read_indices(tmp_path / name), expected[orientation])


def test_what_is_no_picture_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')  # whoever opens it waits for its other end
    Image.new('RGB', (4, 4)).save(tmp_path / 'program.jpg', 'EPS')  # Pillow starts an interpreter
    for name, message in (('pipe.jpg', 'is no file'), ('program.jpg', 'is PostScript, a program')):
        with pytest.raises(ValueError, match=f'{name} {message}'):
            read_image(tmp_path / name)


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
    found = read_indices(tmp_path / 'a.png')
    np.testing.assert_array_equal(found, values)
    assert found.dtype == np.uint16
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / 'b.tif')
    with pytest.raises(ValueError, match='b.tif holds indices from 0 to 70000'):
        read_indices(tmp_path / 'b.tif')
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / 'c.png')
    with pytest.raises(ValueError, match='c.png holds colors, not indices'):
        read_indices(tmp_path / 'c.png')
    with pytest.raises(ValueError, match='a.png has more than 8 bits'):
        read_gray(tmp_path / 'a.png')


def test_the_lister_follows_links_once_and_says_what_it_passes_over(tmp_path, logged):
    for name in ('real/1.jpg', 'real/2.JFIF', 'real/3.heic', 'real/.4.jpg', 'root/a/5.png', 'root/6.tif'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / 'root'
    (root / 'linked').symlink_to(tmp_path / 'real')
    (root / 'a' / 'inner').symlink_to(tmp_path / 'real')
    (root / 'a' / 'up').symlink_to('..')
    (root / 'a' / 'self').symlink_to('.')
    (tmp_path / 'real' / 'back').symlink_to(root)
    assert list_images(root) == ['6.tif']
    logged.clear()
    assert list_images(root, recursive=True) == ['6.tif', 'a/5.png', 'a/inner/1.jpg', 'a/inner/2.JFIF', 'linked/1.jpg',
                                                'linked/2.JFIF']
    assert 'root: 2 files passed over: 2 .heic; images are .jpg' in logged.pop()
    assert len(logged) == 4 and all('leads back to' in line for line in logged)
    with pytest.raises(FileNotFoundError, match='none does not exist'):
        list_images(tmp_path / 'none')


def test_names_that_would_share_their_proposals():
    assert by_stem(['a/1.jpg', 'b/1.png', 'x.y.jpg'], 'x') == {'a/1': 'a/1.jpg', 'b/1': 'b/1.png', 'x.y': 'x.y.jpg'}
    with pytest.raises(ValueError, match='photos: 1.jpg and 1.png differ in the suffix alone'):
        by_stem(['1.jpg', '1.png'], 'photos')
