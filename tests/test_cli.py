"""The command: what it prints, writes and returns."""
import json

import cv2
import numpy as np
import pytest

from mmiam.cli import main
from mmiam.version import __version__


@pytest.fixture
def run(tiny_run, tmp_path, monkeypatch):
    """``run(*words)`` in a folder with two photos and ``tiny``, a model's folder; gives the exit status."""
    rng = np.random.default_rng(0)
    for name in ('photos/a.jpg', 'photos/more/a.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(list(words))


@pytest.fixture
def predicted(tmp_path):
    """``predicted(what)``: of the COCO file that was written."""
    return lambda what: json.loads((tmp_path / 'outputs/predictions.json').read_text())[what]


MODEL = ('--model', 'tiny', '--device', 'cpu')


def test_predict_a_folder_with_photos_that_cannot_be_read(run, predicted, tmp_path, capsys):
    whole = (tmp_path / 'photos/a.jpg').read_bytes()
    (tmp_path / 'photos/cut.jpg').write_bytes(whole[:len(whole) * 2 // 3])  # OpenCV reads it, its rest gray
    (tmp_path / 'photos/phone.heic').write_bytes(b'something')
    assert run('predict', 'photos', *MODEL, '--min-score', '0', '--format', 'yolo') == 1
    printed = capsys.readouterr()
    assert 'phone.heic: this format is not read; save it as JPEG or PNG' in printed.err
    assert 'cut.jpg: not an image, or a broken one' in printed.err and printed.out.startswith('photos/a.jpg: ')
    written = {path.relative_to(tmp_path / 'outputs').as_posix() for path in (tmp_path / 'outputs').rglob('*.*')}
    assert written == {'pictures/a.jpg', 'pictures/more/a.jpg', 'predictions.json', 'data.yaml', 'labels/a.txt',
                       'labels/more/a.txt'}
    masks = len(predicted('annotations'))
    assert masks > 1 and len(predicted('images')) == 2 and printed.out.count('%') == masks
    assert f'{masks} masks on 2 photos: outputs/pictures, outputs/predictions.json' in printed.out
    picture = cv2.imread(str(tmp_path / 'outputs/pictures/a.jpg'))
    assert picture.shape == (24, 32, 3) and (picture != cv2.imread('photos/a.jpg')).any()


def test_tags_and_least_score(run, predicted, capsys):
    for tag, category in (('Cat', 1), ('dog', 2)):
        assert run('predict', 'photos', *MODEL, '--min-score', '0', '--tags', tag) == 0
        assert {one['category_id'] for one in predicted('annotations')} == {category}
    assert run('predict', 'photos', *MODEL, '--min-score', '1') == 0
    assert 'photos/a.jpg: nothing found' in capsys.readouterr().out and predicted('annotations') == []


def test_clicks_have_the_name_that_is_given_and_no_least_score(run, predicted, capsys):
    point = ('predict', 'photos/a.jpg', *MODEL, '--min-score', '1', '--point', '4,5')
    for words, name in (((), 'object'), (('--tags', 'cup'), 'cup')):
        assert run(*point, *words) == 0 and predicted('categories') == [dict(id=1, name=name)]
        printed = capsys.readouterr().out
        assert f'photos/a.jpg: {name} ' in printed and '1 mask on 1 photo: outputs/pictures' in printed
    assert run(*point, '20,6', '--box', '1,1,20,20') == 0 and 1 <= len(predicted('annotations')) <= 3


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


@pytest.mark.parametrize('words', [
    '', 'predict', 'predict a.jpg --point 1;2', 'predict a.jpg --box 1,2,3', 'predict a.jpg --format gif',
    'predict a.jpg --min-score 30', 'serve --port 70000', 'fly'])
def test_wrong_words_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2 and 'usage' in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(['--version'])
    assert capsys.readouterr().out == f'mmiam {__version__}\n'
