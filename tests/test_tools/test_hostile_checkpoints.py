"""A hostile checkpoint given to train, test or demo is refused with a sentence and runs nothing."""
import importlib.util
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from mmiam.apis import init_model

ROOT = Path(__file__).parents[2]


class Payload:
    """Unpickling it creates a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint with a payload; that it did not run, and that it would, is checked at the end."""
    trap = tmp_path / 'payload_ran'
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), meta=Payload(trap)), tmp_path / 'hostile.pth')
    yield tmp_path / 'hostile.pth'
    assert not trap.exists()
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists()


@pytest.fixture
def call(monkeypatch, tiny_config, tmp_path):
    """``call(tool, *arguments)`` runs a tool's main in this process on a small config, and undoes what it set."""
    for name in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
        monkeypatch.delenv(name)
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
    tiny_config().dump(tmp_path / 'tiny.py')
    monkeypatch.chdir(tmp_path)

    def run(tool, *arguments):
        spec = importlib.util.spec_from_file_location('called_' + Path(tool).stem, ROOT / tool)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        return module.main()

    yield run
    os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD', None)
    os.environ.pop('LOCAL_RANK', None)


REFUSED = 'is refused and nothing in it was run'


@pytest.mark.parametrize('arguments', [
    ('--resume', 'hostile.pth'), ('--cfg-options', 'load_from=hostile.pth'),
    ('--cfg-options', 'model.cue.checkpoint=hostile.pth')],
    ids=['resume', 'load_from', 'another key'])
def test_train(call, hostile, arguments):
    with pytest.raises(ValueError, match=REFUSED):
        call('tools/train.py', 'tiny.py', '--work-dir', 'work', *arguments)


def test_resuming_the_latest(call, hostile, tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(hostile))
    with pytest.raises(ValueError, match=f'--resume: .*{REFUSED}'):
        call('tools/train.py', 'tiny.py', '--work-dir', 'work', '--resume')


def test_test(call, hostile):
    with pytest.raises(ValueError, match=f'load_from: .*{REFUSED}'):
        call('tools/test.py', 'tiny.py', 'hostile.pth', '--work-dir', 'work')


def test_demo(hostile, tiny_config, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('called_demo', ROOT / 'demo/image_demo.py')
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    cfg = tiny_config()
    cfg.dump(tmp_path / 'tiny.py')
    image = next((Path(cfg.train_dataloader.dataset.data_root) / 'JPEGImages').iterdir())
    arguments = [str(image), str(tmp_path / 'tiny.py'), '--weights', str(hostile), '--out-dir', str(tmp_path / 'out')]
    assert demo.main(arguments) == 2 and REFUSED in capsys.readouterr().err
    with pytest.raises(ValueError, match=REFUSED):
        init_model(str(tmp_path / 'tiny.py'), str(hostile), device='cpu')
