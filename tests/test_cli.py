"""The command: what it prints, writes and returns."""
import json
import shutil

import cv2
import numpy as np
import pytest

from mmiam.cli import main


@pytest.fixture
def run(tiny_files, tmp_path, monkeypatch):
    """``run(*words)`` in a folder with two photos and ``tiny``, a model's folder; gives the exit status."""
    (tmp_path / 'tiny').mkdir()
    for source, name in zip(tiny_files, ('config.py', 'model.pth')):
        shutil.copy(source, tmp_path / 'tiny' / name)
    rng = np.random.default_rng(0)
    for name in ('photos/a.jpg', 'photos/more/a.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(list(words))


MODEL = ('--model', 'tiny', '--device', 'cpu')


def test_predict_a_folder(run, tmp_path, capsys):
    assert run('predict', 'photos', *MODEL, '--min-score', '0', '--format', 'labelme') == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith('photos/a.jpg: ') and '%' in printed[0]
    assert printed[-1].endswith('on 2 photos: outputs/pictures, outputs/predictions.json')
    assert len(list(tmp_path.glob('outputs/pictures/**/a.jpg'))) == len(list(tmp_path.glob('outputs/labelme/**/a.json'))
                                                                       ) == 2


def test_unreadable_photos_are_named_and_the_rest_goes_on(run, tmp_path, capsys):
    (tmp_path / 'photos/broken.jpg').write_bytes(b'no image')
    (tmp_path / 'photos/phone.heic').write_bytes(b'something')
    assert run('predict', 'photos', *MODEL, '--min-score', '0') == 1
    printed = capsys.readouterr()
    assert 'phone.heic: this format is not read; save it as JPEG or PNG' in printed.err
    assert 'broken.jpg: not an image' in printed.err and 'masks on 2 photos: ' in printed.out
    assert len(json.loads((tmp_path / 'outputs/predictions.json').read_text())['images']) == 2


def test_clicks(run, tmp_path, capsys):
    assert run('predict', 'photos/a.jpg', *MODEL, '--point', '4,5', '20,6', '--box', '1,1,20,20', '--tags', 'cup') == 0
    assert ' mask on 1 photo: ' in capsys.readouterr().out.replace('masks', 'mask')
    assert json.loads((tmp_path / 'outputs/predictions.json').read_text())['categories'] == [dict(id=1, name='cup')]


@pytest.mark.parametrize('words, sentence', [
    (('predict', 'nowhere.jpg', *MODEL), 'nowhere.jpg does not exist'),
    (('predict', 'photos', *MODEL, '--tags', 'cta'), 'did you mean cat'),
    (('predict', 'photos', *MODEL, '--point', '1,2'), 'one photo at a time'),
    (('predict', 'photos/a.jpg', *MODEL, '--point', '100,2'), 'outside'),
    (('predict', 'photos/a.jpg', '--model', 'voc21'), 'voc20'),
    (('label', 'photos', '--effort', '0'), 'positive'),
    (('label', 'nowhere'), 'nowhere does not exist'),
])
def test_wrong_use_ends_in_one_sentence(run, words, sentence, capsys):
    assert run(*words) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and 'Traceback' not in printed


@pytest.mark.parametrize('words', [(), ('predict', ), ('predict', 'a.jpg', '--point', '1;2'), ('predict', 'a.jpg',
                                   '--box', '1,2,3'), ('predict', 'a.jpg', '--format', 'gif'), ('predict',
                                   'a.jpg', '--min-score', '30'), ('serve', '--port', '70000'), ('fly', )])
def test_wrong_words_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2 and 'usage' in capsys.readouterr().err


def test_version(capsys):
    from mmiam.version import __version__
    with pytest.raises(SystemExit):
        main(['--version'])
    assert capsys.readouterr().out == f'mmiam {__version__}\n'
