"""``tools/test.py``: what it writes, and what it refuses before anything is computed."""
import json
import re

import pytest
from support import MINI_CLASSES


@pytest.fixture
def run_test(tiny_files, call_tool, tmp_path, monkeypatch, capsys):
    """``run_test(*flags)`` -> exit status and what is on stderr, on a checkpoint with random weights."""
    monkeypatch.chdir(tmp_path)

    def run(*flags, checkpoint='tiny.pth'):
        return call_tool('tools/test.py', 'tiny.py', checkpoint, '--work-dir', 'work', *flags), capsys.readouterr().err

    return run


@pytest.mark.slow
def test_predictions_pictures_and_options(run_test, tmp_path):
    status, said = run_test('--out', 'out.json', '--show-dir', 'pictures', '--cfg-options',
                            'model.peak_head.class_thr=-50')
    assert status == 0, said
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [image['img_id'] for image in content['images']] == ['v0', 'v1'] and content['classes'] == [*MINI_CLASSES]
    pictures = [path for path in (tmp_path / 'work').rglob('*') if path.suffix in ('.jpg', '.png')]
    assert {path.stem.split('_')[0] for path in pictures} >= {'v0', 'v1'}
    metrics = [json.loads(path.read_text()) for path in (tmp_path / 'work').rglob('2*.json')]
    assert any({'mAP_25', 'mAP_50', 'mAP_75', 'ABO'} <= set(one) for one in metrics), metrics


@pytest.mark.parametrize('flags, checkpoint, message', [
    ((), 'none.pth', 'none.pth'), ((), 'hostile.pth', 'load_from: .*is refused and nothing in it was run'),
    (('--out', 'out.pkl'), 'tiny.pth', 'the file is json'),
    (('--out', 'tiny.pth/out.json'), 'none.pth', 'tiny.pth/out.json'),  # before anything is computed
    # the number of the model's classes is the checkpoint's, but label 0 is another class
    (('--cfg-options', 'test_dataloader.dataset.metainfo.classes=(dog,person)'), 'tiny.pth', 'cat are in one alone')])
def test_bad_arguments_are_named(flags, checkpoint, message, run_test, hostile):
    status, said = run_test(*flags, checkpoint=checkpoint)
    assert status != 0 and re.search(message, said) and 'Traceback' not in said, said
