import numpy as np
import pytest
from PIL import Image

from mmiam.utils.images import check_image_file, image_size


def noise(path, mode='RGB', size=(40, 30)):
    rng = np.random.default_rng(0)
    channels = {'L': (), 'RGB': (3, ), 'RGBA': (4, )}[mode]
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], *channels), dtype=np.uint8), mode).save(path)
    return path


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_whole_file_passes(tmp_path, suffix):
    path = noise(tmp_path / f'a{suffix}')
    check_image_file(str(path))
    assert image_size(str(path)) == (30, 40)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_truncated_file_is_named(tmp_path, suffix):
    path = noise(tmp_path / f'cut{suffix}')
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


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.jpg.*restore'):
        check_image_file(str(tmp_path / 'gone.jpg'))
    with pytest.raises(FileNotFoundError, match='gone.jpg.*restore'):
        image_size(str(tmp_path / 'gone.jpg'))


def test_addresses_are_left_to_the_loader():
    check_image_file('s3://bucket/a.jpg')
