import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path):
    """``photo(name)``: a file of 48 x 64 pixels (H x W), an ellipse on noise."""
    from PIL import ImageDraw

    def make(name):
        image = Image.fromarray(np.random.default_rng(0).integers(90, 130, (48, 64, 3), dtype=np.uint8))
        ImageDraw.Draw(image).ellipse((10, 8, 40, 30), fill=(220, 60, 40))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name)
        return tmp_path / name

    return make
