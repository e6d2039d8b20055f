"""Tags of one's own images: what is read, and what is refused with file, line or key and the remedy."""
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmiam.datasets.tags import class_names, read_tags
from mmiam.datasets.tags.coco_json import read_coco
from mmiam.datasets.tags.csv_files import read_csv
from mmiam.datasets.tags.names import safe_name
from mmiam.datasets.tags.reading import read_class_folders


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


def test_one_photo_in_two_folders_is_one_image_with_two_tags(tmp_path):
    for name, content in (('cat/1.jpg', b'both'), ('dog/a.jpg', b'both'), ('dog/b.jpg', b'dogs'),
                          ('dog/c.jpg', b'dogs'), ('owl/1.jpg', b'both')):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    tagged = read_class_folders(str(tmp_path))
    assert tags(tagged) == {'cat/1.jpg': ['cat', 'dog', 'owl'], 'dog/b.jpg': ['dog'], 'dog/c.jpg': ['dog']}
    assert tagged.classes == ('cat', 'dog', 'owl')


def test_folders(tmp_path):
    for name in ('dog/2.JPG', 'dog/deep/1.png', 'cat/1.jpeg', 'cat/notes.txt', '.hidden/1.jpg',
                 'cat/._1.jpg', 'dog/.thumbs/1.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    tagged = read_class_folders(str(tmp_path))
    assert tags(tagged) == {'cat/1.jpeg': ['cat'], 'dog/2.JPG': ['dog'], 'dog/deep/1.png': ['dog']}
    assert tagged.classes == ('cat', 'dog')
    (tmp_path / 'loose.jpg').touch()
    with pytest.raises(ValueError, match='loose.jpg lies beside the class folders'):
        read_class_folders(str(tmp_path))
    (tmp_path / 'loose.jpg').rename(tmp_path / 'cat/loose.jpg')
    (tmp_path / 'owl').mkdir()
    (tmp_path / 'owl/1.heic').touch()
    with pytest.raises(ValueError, match='class folder .*owl has no image .*convert its files'):
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
    ('a.jpg,cat\n,cat\n', r"line 2: '' is not the name"),
    ('a.jpg,"cat\n', r'tags.csv, line 1: .*rows of the form'),
    ('file,tags\n', 'names no image'), ('', 'names no image')])
def test_broken_csv(tmp_path, text, message):
    (tmp_path / 'tags.csv').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(str(tmp_path / 'tags.csv'))


@pytest.mark.parametrize('text', [
    'image_name,tags\na.jpg,cat dog\nb.jpg,owl\n', 'File Name;Label\na.jpg;cat dog\nb.jpg;owl\n',
    ',file,tags\n0,a.jpg,cat dog\n1,b.jpg,owl\n', 'width,filename,class\n9,a.jpg,cat dog\n9,b.jpg,owl\n',
    'thumb,file,tags\nx.jpg,a.jpg,cat dog\ny.jpg,b.jpg,owl\n',
    'image\tcategory\na.jpg\tcat dog\nb.jpg\towl\n', 'filename,cat dog,owl\na.jpg,1,0\nb.jpg,0,1\n',
    'id,file,path,cat dog,owl\n0,a.jpg,x/a,1,0\n1,b.jpg,x/b,0,1\n',
    'Unnamed: 0,ID,img, cat dog ,owl\n0,5,a.jpg,1.0,0.0\n1,6,b.jpg,,True\n'])
def test_csv_by_its_header(tmp_path, text):
    (tmp_path / 't.csv').write_text(text)
    tagged = read_csv(str(tmp_path / 't.csv'))
    assert tags(tagged) == {'a.jpg': ['cat dog'], 'b.jpg': ['owl']} and tagged.classes == ('cat dog', 'owl')


@pytest.mark.parametrize('cell', ['"cat,dog"', 'cat|dog', 'cat; dog', '"[\'cat\', \'dog\']"', '"[""cat"",""dog""]"',
                                  '"(\'cat\', \'dog\')"', '"{\'cat\', \'dog\'}"', '"cat\ndog"', '"[\'cat\' \'dog\']"',
                                  '\u200bcat|dog\ufeff'])
@pytest.mark.parametrize('header', ['file,tags\n', ''])
def test_several_tags_in_a_cell(tmp_path, cell, header):
    (tmp_path / 't.csv').write_text(f"{header}a.jpg,{cell}\nb.jpg,dog\nc.jpg,lion's mane (big)\n", encoding='utf-8')
    found = tags(read_csv(str(tmp_path / 't.csv')))
    assert found == {'a.jpg': ['cat', 'dog'], 'b.jpg': ['dog'], 'c.jpg': ["lion's mane (big)"]}


def test_a_class_may_be_called_as_a_column_of_names(tmp_path):
    (tmp_path / 't.csv').write_text('file,photo,id\na.jpg,1,0\nb.jpg,0,1\n')
    assert tags(read_csv(str(tmp_path / 't.csv'))) == {'a.jpg': ['photo'], 'b.jpg': []}
    (tmp_path / 't.csv').write_text('file,tags\na.jpg,"(\'cat\',)"\nb.jpg,(unknown)\n')
    assert tags(read_csv(str(tmp_path / 't.csv'))) == {'a.jpg': ['cat'], 'b.jpg': ['(unknown)']}


@pytest.mark.parametrize('text, expected', [('file,猫,犬\na.jpg,1,0\n', ['猫']), ('file,0,1\na.jpg,0,1\n', ['1'])])
def test_a_class_may_have_any_letters(tmp_path, text, expected):
    (tmp_path / 'tags.csv').write_text(text, encoding='utf-8')
    assert tags(read_csv(str(tmp_path / 'tags.csv'))) == {'a.jpg': expected}


def test_names_that_are_no_classes(tmp_path, logged):
    for name in ('train/1.jpg', 'Val/2.jpg'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    with pytest.raises(ValueError, match='has the folders Val, train, which are parts of a data set'):
        read_class_folders(str(tmp_path))
    (tmp_path / 'train').rename(tmp_path / 'a\nb')
    with pytest.raises(ValueError, match=r"the class 'a\\nb' has letters that are none"):
        read_class_folders(str(tmp_path))
    (tmp_path / 'a\nb').rename(tmp_path / 'val')
    (tmp_path / 'cat').mkdir()
    (tmp_path / 'cat/3.jpg').touch()
    assert read_class_folders(str(tmp_path)).classes == ('Val', 'cat', 'val')
    assert "differ in case alone are different ones: ['Val', 'val']" in logged[0]


def test_links_to_nowhere(tmp_path):
    """An image among others costs nothing but itself; a class would vanish."""
    (tmp_path / 'cat').mkdir()
    (tmp_path / 'cat/1.jpg').touch()
    (tmp_path / 'cat/2.jpg').symlink_to('gone')
    assert tags(read_class_folders(str(tmp_path))) == {'cat/1.jpg': ['cat'], 'cat/2.jpg': ['cat']}
    (tmp_path / 'owl').symlink_to('owl')
    with pytest.raises(ValueError, match='class folder .*owl has no image'):
        read_class_folders(str(tmp_path))


def test_columns_that_are_passed_over_are_said(tmp_path, logged):
    (tmp_path / 't.csv').write_text('file,label,present\na.jpg,cat,0\n')
    read_csv(str(tmp_path / 't.csv'))
    assert "tags are in ['label'], names in 'file'; not read: ['present']" in logged[0]


def test_composed_and_decomposed_letters_are_the_same(tmp_path):
    one, two = 'caf\u00e9', 'cafe\u0301'
    for name in (f'{two}/{two}.png', 'owl/1.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert class_names(str(tmp_path), 'folders') == (one, 'owl') == class_names('', '', f'{two},owl')
    text = f'file,tag\n{one}/{one}.png,{one}\nowl/1.png,{two}\n'
    (tmp_path / 'tags.csv').write_text(text, encoding='utf-8')
    assert tags(read_tags(str(tmp_path), str(tmp_path / 'tags.csv'))) == {f'{two}/{two}.png': [one], 'owl/1.png': [one]}
    (tmp_path / 'tags.csv').write_text(text + f'{two}/{two}.png,owl\n', encoding='utf-8')
    with pytest.raises(ValueError, match='twice, in two forms'):
        read_tags(str(tmp_path), str(tmp_path / 'tags.csv'))


def test_rows_of_boxes_are_one_image(tmp_path):
    (tmp_path / 't.csv').write_text('filename,class,xmin\na.jpg,cat,1\na.jpg,dog,5\na.jpg,cat,9\n')
    assert tags(read_csv(str(tmp_path / 't.csv'))) == {'a.jpg': ['cat', 'dog']}


@pytest.mark.parametrize('text, message', [
    ('file,species\na.jpg,robin\n', r"t.csv, line 2: 'robin' in column 'species' of the header \['file', 'species'\]"),
    ('file,cat,dog\na.jpg,1,0\nb.jpg,0,2\n', r"line 3: '2' in column 'dog'"),
    ('file,cat,cat\na.jpg,1,0\n', "has the column 'cat' twice"),
    ('文件,标签\na.jpg,猫\n', "'猫' in column '标签'"),
    ('file,cat\na.jpg,1,1\n', r"line 2: '1' in column 'none'"),
    ('train_0,haze\ntrain_1,clear\n', "neither an image with its tags nor a header"),
    ('a.jpg,837,346,cow\nb.jpg,22,5,owl\n', "'837' stands where tags do, and the whole column has numbers"),
    ('file,label,class_name\na.jpg,0,cat\nb.jpg,1,dog\n', "'0' stands where tags do"),
    ('file,tags\na.jpg,cat\nb.jpg,NaN\n', "'NaN' stands where tags do, and is no tag"),
    ('left,right,tags\na.jpg,b.jpg,cat\n', r"columns \['left', 'right'\] .* call the one that is meant"),
    ('a.jpg,1,0\nb.jpg,0,1\n', 'all tags are 0 or 1; name the classes'),
    ('file,label\na.jpg,1\nb.jpg,0\n', 'all tags are 0 or 1; name the classes')])
def test_csv_of_other_forms_is_refused(tmp_path, text, message):
    (tmp_path / 't.csv').write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match=message):
        read_csv(str(tmp_path / 't.csv'))


@pytest.mark.parametrize('image, of, category', [(1, '1', 1), ('1', 1, 1), (1, 1, '1'), (1, 1., 1.), (1., 1, 1)])
def test_ids_of_another_kind_are_the_same_and_stay_as_they_are(tmp_path, image, of, category):
    content = dict(categories=[dict(id=1, name=' cat ')], images=[dict(id=image, file_name='a.jpg')],
                   annotations=[dict(image_id=of, category_id=category)])
    (tmp_path / 't.json').write_text(json.dumps(content), encoding='utf-8-sig')
    tagged = read_coco(str(tmp_path / 't.json'))
    assert tags(tagged) == {'a.jpg': ['cat']} and tagged.classes == ('cat', )
    assert tagged.images[0].source_id == image and type(tagged.images[0].source_id) is type(image)
    content['images'].append(dict(id=str(int(image)) if image != '1' else 1, file_name='b.jpg'))
    (tmp_path / 't.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'images\[1\].id is .*1 and "1" are one id'):
        read_coco(str(tmp_path / 't.json'))


@pytest.mark.parametrize('name', ['Screenshot at 3.15.02\u202fPM.png', 'v\u00a013.05.png',
                                  '\u0645\u06cc\u200c\u062e.png', '12:30:05.png', '~sketch.png', ' a.png',
                                  'a+b (1)/#1.png', "Tom's.png", '.a.png'])
def test_any_name_that_stays_inside_is_accepted(name):
    assert safe_name(name, '') == name


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / 'tags.csv').write_bytes(b'a.jpg,\xff\xfe')
    with pytest.raises(ValueError, match='tags.csv is no text in UTF-8'):
        read_csv(str(tmp_path / 'tags.csv'))


def test_coco_by_annotations_and_by_image(tmp_path):
    path = tmp_path / 'tags.json'
    path.write_text(json.dumps(coco()))
    tagged = read_coco(str(path))
    assert tags(tagged) == {'a.jpg': ['cat', 'dog'], 'sub/b.png': []} and tagged.classes == ('dog', 'cat')
    assert [image.source_id for image in tagged.images] == [1, 'two'] and tagged.category_ids == dict(dog=7, cat='c')
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
    with pytest.raises(ValueError, match='tags.json (is truncated, or not json|holds a int)'):
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
                                  's3://bucket/a.jpg', 'a\n.jpg', '', ' ', '.', 'a\0.jpg', 3, None])
def test_names_that_lead_out(name):
    with pytest.raises(ValueError, match='somewhere: '):
        safe_name(name, 'somewhere')


def test_missing_files_are_named(tmp_path):
    (tmp_path / 'tags.csv').write_text('a.jpg,cat\nb.jpg,cat\n')
    (tmp_path / 'a.jpg').touch()
    for root, file, message in ((tmp_path, 'tags.csv', r'b.jpg does not exist \(1 of 2 .*names in .*tags.csv'),
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
