import numpy as np
import pytest
from PIL import Image

from mmiam.apis import init_model


@pytest.fixture
def model(tiny_files):
    """A small one that finds something in every image."""
    return init_model(*tiny_files, 'cpu')


@pytest.fixture
def folder(tmp_path):
    """Color, gray and RGBA images of 20 x 30 pixels, and one that is none."""
    path = tmp_path / 'images'
    path.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    for name, part in (('color.jpg', pixels[..., :3]), ('gray.png', pixels[..., 0]), ('rgba.png', pixels)):
        Image.fromarray(part).save(path / name)
    (path / 'broken.jpg').write_bytes(b'no image')
    return path
