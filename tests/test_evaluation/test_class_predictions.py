import json

import pytest

from mmiam.evaluation.functional.class_predictions import find_prediction, load_class_predictions

CLASSES = ('001.Auk', '002.Crow', 'Wren')


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')
    return str(path)


@pytest.mark.parametrize('name, content', [
    ('a.csv', 'image,score,class\n7,0.5,Crow\n001.Auk/x.jpg, .1, 001.Auk\n\n'),
    ('a.csv', '\ufeff7,002.Crow\n001.Auk/x.jpg,Auk'),
    ('a.csv', '7,1\n001.Auk/x.jpg,0'),
    ('a.json', {'7': 'Crow', '001.Auk/x.jpg': 0}),
    ('a.json', [{'image': 7, 'class': '002.Crow', 'score': 1}, {'image': '001.Auk/x.jpg', 'class': 'Auk'}]),
    ('a.json', {'7': [0.1, 0.7, 0.2], '001.Auk/x.jpg': [3, 1, 2]})])
def test_forms(name, content, tmp_path):
    assert load_class_predictions(write(tmp_path, name, content), CLASSES) == {'7': 1, '001.Auk/x.jpg': 0}


def test_numbers_from_one(tmp_path):
    assert load_class_predictions(write(tmp_path, 'a.csv', '7,3'), CLASSES, first_label=1) == {'7': 2}


def test_an_image_has_many_names():
    for name in ('12', '001.Auk/x.jpg', '001.Auk/x', 'x.jpg', 'x'):
        assert find_prediction({name: 2}, '12', '/data/images/001.Auk/x.jpg') == 2
    assert find_prediction({'y': 2}, '12', '/data/images/001.Auk/x.jpg') is None


@pytest.mark.parametrize('name, content, message', [
    ('a.txt', '7,1', r'a.txt: class predictions are a file \*.csv or \*.json'),
    ('a.csv', '', 'a.csv holds no prediction'),
    ('a.csv', '7', 'a.csv, entry 1: .*expected image and class'),
    ('a.csv', '7,Owl', r"a.csv, entry 1 \(image '7'\): 'Owl' is no class"),
    ('a.csv', '7,3', 'class number 3 is not in 0 … 2; .*first_label'),
    ('a.csv', '7,1\n7,2', "a.csv, entry 2: image '7' has two classes"),
    ('a.json', '{', 'a.json is truncated, or not json'),
    ('a.json', [1, 2], 'a.json must hold an object'),
    ('a.json', {'7': [1, 2]}, 'a.json, .*expected 3 scores, one a class, got 2'),
    ('a.json', {'7': None}, 'None is no class')])
def test_bad_files_are_named(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_class_predictions(write(tmp_path, name, content), CLASSES)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.csv'):
        load_class_predictions(str(tmp_path / 'none.csv'), CLASSES)
