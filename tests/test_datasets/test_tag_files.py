"""Tags of one's own images: what is read, and what is refused with file, line or key and the remedy."""
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmiam.datasets.tag_files import class_names, read_class_folders, read_coco, read_csv, read_tags, safe_name


def tags(tagged):
    return {image.name: image.tags for image in tagged.images}


def coco(**changes):
    content = dict(
        categories=[dict(id=7, name='dog'), dict(id='c', name='cat')],
        images=[dict(id=1, file_name='a.jpg', height=4, width=6), dict(id='two', file_name='sub/b.png')],
        annotations=[dict(image_id=1, category_id='c', bbox='never read', segmentation=3, iscrowd=1),
                     dict(image_id=1, category_id='c'), dict(image_id=1, category_id=7)])
    content.update(changes)
    return content


def test_folders(tmp_path):
    for name in ('dog/2.JPG', 'dog/deep/1.png', 'cat/1.jpeg', 'cat/notes.txt', 'empty/x.txt', '.hidden/1.jpg',
                 'cat/._1.jpg', 'dog/.thumbs/1.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    tagged = read_class_folders(str(tmp_path))
    assert tags(tagged) == {'cat/1.jpeg': ['cat'], 'dog/2.JPG': ['dog'], 'dog/deep/1.png': ['dog']}
    assert tagged.classes == ('cat', 'dog')
    (tmp_path / 'loose.jpg').touch()
    with pytest.raises(ValueError, match='loose.jpg lies beside the class folders'):
        read_class_folders(str(tmp_path))


@pytest.mark.parametrize('text', [
    'file,tags\na.jpg, dog ,cat,dog\nsub/b.png,\n\n"c, d.jpg",cat\n',
    '\ufefffilename;tag;tag\r\na.jpg;dog;cat\r\nsub\\b.png\r\n"c, d.jpg";cat\r\n'])
def test_csv(tmp_path, text):
    (tmp_path / 'tags.csv').write_bytes(text.encode())
    tagged = read_csv(str(tmp_path / 'tags.csv'))
    assert tags(tagged) == {'a.jpg': ['dog', 'cat'], 'sub/b.png': [], 'c, d.jpg': ['cat']}
    assert tagged.classes == ('cat', 'dog')


@pytest.mark.parametrize('text, message', [
    ('a.jpg,cat\n../b.jpg,cat\n', r'tags.csv, line 2: .*leads out of the image folder'),
    ('/etc/passwd.jpg,cat\n', r'line 1: .*leads out'),
    ('a.jpg,cat\n./a.jpg,dog\n', r"line 2: 'a.jpg' stands in line 1 already"),
    (',cat\n', r"line 1: '' is not the name"),
    ('a.jpg,"cat\n', r'tags.csv, line 1: .*rows of the form'),
    ('file,tags\n', 'names no image'), ('', 'names no image')])
def test_broken_csv(tmp_path, text, message):
    (tmp_path / 'tags.csv').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(str(tmp_path / 'tags.csv'))


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / 'tags.csv').write_bytes(b'a.jpg,\xff\xfe')
    with pytest.raises(ValueError, match='tags.csv is not UTF-8 text'):
        read_csv(str(tmp_path / 'tags.csv'))


def test_coco_by_annotations_and_by_image(tmp_path):
    path = tmp_path / 'tags.json'
    path.write_text(json.dumps(coco()))
    tagged = read_coco(str(path))
    assert tags(tagged) == {'a.jpg': ['cat', 'dog'], 'sub/b.png': []} and tagged.classes == ('dog', 'cat')
    assert [(image.height, image.width) for image in tagged.images] == [(4, 6), (None, None)]
    content = coco()
    del content['annotations']
    content['images'][1]['category_ids'] = [7]
    path.write_text(json.dumps(content))
    assert tags(read_coco(str(path))) == {'a.jpg': [], 'sub/b.png': ['dog']}


@pytest.mark.parametrize('changes, message', [
    (dict(images=None), 'images is missing'), (dict(images=[], annotations=[]), 'images is empty'),
    (dict(images=[3]), r'images\[0\]'),
    (dict(categories=[]), 'categories is empty'), (dict(categories=[dict(id=1)]), r'categories\[0\]'),
    (dict(categories=[dict(id=1, name='a'), dict(id=2, name='a')]), r'categories\[1\]'),
    (dict(annotations=[dict(image_id=9, category_id=7)]), r'annotations\[0\].image_id 9'),
    (dict(annotations=[dict(image_id=1, category_id=8)]), r'annotations\[0\].category_id is 8'),
    (dict(annotations=[dict(image_id=1, category_id=[7])]), r'annotations\[0\].category_id is \[7\]'),
    (dict(annotations=dict()), 'annotations is no list'),
    (dict(images=[dict(id=1, file_name='../../a.jpg')]), r'images\[0\].file_name: .*leads out'),
    (dict(images=[dict(id=1, file_name=None)]), r'images\[0\].file_name: None'),
    (dict(images=[dict(id=True, file_name='a.jpg')]), r'images\[0\].id is True'),
    (dict(images=[dict(id=1, file_name='a.jpg'), dict(id=1, file_name='b.jpg')]), r'images\[1\].id is 1'),
    (dict(images=[dict(id=1, file_name='a.jpg'), dict(id=2, file_name='a.jpg')]), r'is that of images\[0\]'),
    (dict(images=[dict(id=1, file_name='a.jpg', category_ids=7)], annotations=[]), r'category_ids is 7'),
    (dict(images=[dict(id=1, file_name='a.jpg', category_ids=[8])], annotations=[]), r'category_ids\[0\] is 8')])
def test_broken_coco(tmp_path, changes, message):
    path = tmp_path / 'tags.json'
    path.write_text(json.dumps(coco(**changes)))
    with pytest.raises(ValueError, match='tags.json: .*' + message):
        read_coco(str(path))


@pytest.mark.parametrize('content', [b'[' * 100_000, b'{', b'\xff', b'3'])
def test_json_that_is_none(tmp_path, content):
    (tmp_path / 'tags.json').write_bytes(content)
    with pytest.raises(ValueError, match='tags.json (is not json|holds a int)'):
        read_coco(str(tmp_path / 'tags.json'))


KEYS = ('id', 'name', 'file_name', 'image_id', 'category_id', 'category_ids', 'height')
JSON = st.recursive(st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(KEYS), inner, max_size=4), max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(content=st.dictionaries(st.sampled_from(['images', 'categories', 'annotations']), JSON | st.lists(JSON)))
def test_any_json_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('json') / 'tags.json'
    path.write_text(json.dumps(content))
    try:
        tagged = read_coco(str(path))
    except ValueError as error:
        assert 'tags.json' in str(error)
    else:
        assert all(tag in tagged.classes for image in tagged.images for tag in image.tags)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=40) | st.text(alphabet='a,;"\n\r/.\\\0 ', max_size=40).map(str.encode))
def test_any_csv_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('csv') / 'tags.csv'
    path.write_bytes(content)
    try:
        tagged = read_csv(str(path))
    except ValueError as error:
        assert 'tags.csv' in str(error)
    else:
        assert all(safe_name(image.name, '') == image.name for image in tagged.images)


@pytest.mark.parametrize('name', ['..', '../a.jpg', 'a/../../b.jpg', '/a.jpg', '\\\\host\\a.jpg', 'C:\\a.jpg',
                                  '~/a.jpg', 's3://bucket/a.jpg', '', ' ', '.', 'a\0.jpg', 3, None])
def test_names_that_lead_out(name):
    with pytest.raises(ValueError, match='somewhere: '):
        safe_name(name, 'somewhere')


def test_missing_files_are_named(tmp_path):
    (tmp_path / 'tags.csv').write_text('a.jpg,cat\nb.jpg,cat\n')
    (tmp_path / 'a.jpg').touch()
    for root, file, message in ((tmp_path, 'tags.csv', 'b.jpg, named in .*1 of 2 images'),
                                (tmp_path, 'no.csv', r'no.csv does not exist; set ann_file'),
                                (tmp_path / 'no', 'tags.csv', 'image folder .*no does not exist; set img_root')):
        with pytest.raises(FileNotFoundError, match=message):
            read_tags(str(root), str(tmp_path / file))
    (tmp_path / 'tags.txt').touch()
    with pytest.raises(ValueError, match='not from .txt files'):
        read_tags(str(tmp_path), str(tmp_path / 'tags.txt'))


def test_class_names_for_a_config(tmp_path):
    (tmp_path / 'tags.csv').write_text('a.jpg,cat\n')
    (tmp_path / 'a.jpg').touch()
    assert class_names(str(tmp_path), str(tmp_path / 'tags.csv')) == ('cat', )
    assert class_names(str(tmp_path), str(tmp_path / 'tags.csv'), 'dog, cat') == ('dog', 'cat')
    assert class_names(str(tmp_path / 'no')) == () == class_names(str(tmp_path), str(tmp_path / 'no.csv'))
