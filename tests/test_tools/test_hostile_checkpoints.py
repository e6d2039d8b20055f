"""A hostile checkpoint given to train, test or demo is refused with a sentence and runs nothing."""
import re

import pytest

from mmiam.apis import init_model


@pytest.fixture
def call(call_tool, monkeypatch, tiny_config, tmp_path):
    """:func:`call_tool` in a folder with a small config."""
    tiny_config().dump(tmp_path / 'tiny.py')
    monkeypatch.chdir(tmp_path)
    return call_tool


REFUSED = 'is refused and nothing in it was run'


@pytest.mark.parametrize('arguments', [
    ('--resume', 'hostile.pth'), ('--cfg-options', 'load_from=hostile.pth'),
    ('--cfg-options', 'model.cue.checkpoint=hostile.pth')],
    ids=['resume', 'load_from', 'another key'])
def test_train(call, hostile, arguments, capsys):
    assert call('tools/train.py', 'tiny.py', '--work-dir', 'work', *arguments) == 2
    assert REFUSED in capsys.readouterr().err


def test_resuming_the_latest(call, hostile, tmp_path, capsys):
    (tmp_path / 'work').mkdir()
    hostile.rename(tmp_path / 'work' / 'epoch_1.pth')
    (tmp_path / 'work' / 'last_checkpoint').write_text('epoch_1.pth')
    assert call('tools/train.py', 'tiny.py', '--work-dir', 'work', '--resume') == 2
    assert re.search(f'epoch_1.pth {REFUSED}.*without --resume', capsys.readouterr().err)


def test_test(call, hostile, capsys):
    assert call('tools/test.py', 'tiny.py', 'hostile.pth', '--work-dir', 'work') == 2
    assert re.search(f'load_from: .*{REFUSED}', capsys.readouterr().err)


def test_demo(call, hostile, tmp_path, capsys):
    image = next(tmp_path.glob('mini_voc_*/JPEGImages/*.jpg'))
    assert call('demo/image_demo.py', image, 'tiny.py', '--weights', hostile, '--out-dir', 'out') == 2
    assert REFUSED in capsys.readouterr().err
    with pytest.raises(ValueError, match=REFUSED):
        init_model(str(tmp_path / 'tiny.py'), str(hostile), device='cpu')
