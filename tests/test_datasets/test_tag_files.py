"""Tags of one's own images: what is read, and what is refused with file, line or key and the remedy."""
import json

import pytest

from mmiam.datasets.tag_files import class_names, read_tags
from mmiam.datasets.tag_files.coco_json import read_coco
from mmiam.datasets.tag_files.csv_files import read_csv
from mmiam.datasets.tag_files.names import safe_name
from mmiam.datasets.tag_files.reading import read_class_folders


def tags(tagged):
    return {image.name: image.tags for image in tagged.images}


# -- one folder a class ------------------------------------------------------------------------------------------------
def test_folders(tree, tmp_path):
    names = ('dog/2.JPG', 'dog/deep/1.png', 'cat/1.jpeg', 'cat/notes.txt', '.hidden/1.jpg', 'cat/._1.jpg',
             'dog/.thumbs/1.jpg')
    tagged = read_class_folders(tree(dict.fromkeys(names, '')))
    assert tags(tagged) == {'cat/1.jpeg': ['cat'], 'dog/2.JPG': ['dog'], 'dog/deep/1.png': ['dog']}
    assert tagged.classes == ('cat', 'dog')
    (tmp_path / 'cat/2.jpg').symlink_to('gone')  # it costs nothing but itself; a class would vanish
    assert tags(read_class_folders(str(tmp_path)))['cat/2.jpg'] == ['cat']
    (tmp_path / 'owl').symlink_to('owl')
    with pytest.raises(ValueError, match='class folder .*owl has no image'):
        read_class_folders(str(tmp_path))


def test_one_photo_in_two_folders_is_one_image_with_two_tags(tree):
    tagged = read_class_folders(tree({'cat/1.jpg': 'both', 'dog/a.jpg': 'both', 'dog/b.jpg': 'dogs',
                                      'dog/c.jpg': 'dogs', 'owl/1.jpg': 'both'}))
    assert tags(tagged) == {'cat/1.jpg': ['cat', 'dog', 'owl'], 'dog/b.jpg': ['dog'], 'dog/c.jpg': ['dog']}
    assert tagged.classes == ('cat', 'dog', 'owl')


@pytest.mark.parametrize('names, message', [
    (['cat/notes.txt'], 'has no folder with an image; make one folder a class'),
    (['cat/1.jpg', 'loose.jpg'], 'loose.jpg lies beside the class folders'),
    (['cat/1.jpg', 'owl/1.heic'], 'class folder .*owl has no image .*convert its files'),
    (['train/1.jpg', 'Val/2.jpg'], 'has the folders Val, train, which are parts of a data set'),
    (['a\nb/1.jpg'], r"the class 'a\\nb' has letters that are none")])
def test_folders_that_are_no_classes(names, message, tree):
    with pytest.raises(ValueError, match=message):
        read_class_folders(tree({name: name for name in names}))


def test_classes_that_differ_in_case_alone_are_said(tree, logged):
    assert read_class_folders(tree({f'{name}/1.jpg': name for name in ('Val', 'cat', 'val')})).classes == (
        'Val', 'cat', 'val')
    assert "differ in case alone are different ones: ['Val', 'val']" in logged[0]


# -- CSV ---------------------------------------------------------------------------------------------------------------
CELLS = ['"cat,dog"', 'cat|dog', 'cat; dog', '"[\'cat\', \'dog\']"', '"[""cat"",""dog""]"', '"(\'cat\', \'dog\')"',
         '"{\'cat\', \'dog\'}"', '"cat\ndog"', '"[\'cat\' \'dog\']"', '\u200bcat|dog\ufeff']
TWO = {'a.jpg': ['cat dog'], 'b.jpg': ['owl']}


@pytest.mark.parametrize('text, expected', [
    *((text, {'a.jpg': ['dog', 'cat'], 'sub/b.png': [], 'c, d.jpg': ['cat']}) for text in (
        'file,tags\na.jpg, dog ,cat,dog\nsub/b.png,\n\n"c, d.jpg",cat\n',
        '\ufefffilename;tag;tag\r\na.jpg;dog;cat\r\nsub\\b.png\r\n"c, d.jpg";cat\r\n')),
    *((text, TWO) for text in (
        'image_name,tags\na.jpg,cat dog\nb.jpg,owl\n', 'File Name;Label\na.jpg;cat dog\nb.jpg;owl\n',
        ',file,tags\n0,a.jpg,cat dog\n1,b.jpg,owl\n', 'width,filename,class\n9,a.jpg,cat dog\n9,b.jpg,owl\n',
        'thumb,file,tags\nx.jpg,a.jpg,cat dog\ny.jpg,b.jpg,owl\n',
        'image\tcategory\na.jpg\tcat dog\nb.jpg\towl\n', 'filename,cat dog,owl\na.jpg,1,0\nb.jpg,0,1\n',
        'id,file,path,cat dog,owl\n0,a.jpg,x/a,1,0\n1,b.jpg,x/b,0,1\n',
        'Unnamed: 0,ID,img, cat dog ,owl\n0,5,a.jpg,1.0,0.0\n1,6,b.jpg,,True\n')),
    *((f"{header}a.jpg,{cell}\nc.jpg,lion's mane (big)\n", {'a.jpg': ['cat', 'dog'], 'c.jpg': ["lion's mane (big)"]})
      for header in ('file,tags\n', '') for cell in CELLS),
    ('file,photo,id\na.jpg,1,0\nb.jpg,0,1\n', {'a.jpg': ['photo'], 'b.jpg': []}),  # a class may be called so
    ('file,tags\na.jpg,"(\'cat\',)"\nb.jpg,(unknown)\n', {'a.jpg': ['cat'], 'b.jpg': ['(unknown)']}),
    ('file,猫,犬\na.jpg,1,0\n', {'a.jpg': ['猫']}), ('file,0,1\na.jpg,0,1\n', {'a.jpg': ['1']}),
    ('filename,class,xmin\na.jpg,cat,1\na.jpg,dog,5\na.jpg,cat,9\n', {'a.jpg': ['cat', 'dog']})])  # rows of boxes
def test_csv(text, expected, tree):
    tagged = read_csv(tree({'t.csv': text}) + '/t.csv')
    assert tags(tagged) == expected and tagged.classes == tuple(sorted(set(sum(expected.values(), []))))


@pytest.mark.parametrize('text, message', [
    ('a.jpg,cat\n../b.jpg,cat\n', r'line 2: .*leads out of the image folder'),
    ('/etc/passwd.jpg,cat\n', r'line 1: .*leads out'),
    ('a.jpg,cat\n./a.jpg,dog\n', r"line 2: 'a.jpg' stands in line 1 already"),
    ('a.jpg,cat\n,cat\n', r"line 2: '' is not the name"),
    ('a.jpg,"cat\n', r'line 1: .*rows of the form'),
    ('file,tags\n', 'names no image'), ('', 'names no image'), (b'a.jpg,\xff\xfe', 'no text in UTF-8'),
    ('file,species\na.jpg,robin\n', r"line 2: 'robin' in column 'species' of the header \['file', 'species'\]"),
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
def test_csv_that_is_refused(text, message, tree):
    with pytest.raises(ValueError, match=f't.csv.*{message}'):
        read_csv(tree({'t.csv': text}) + '/t.csv')


def test_columns_that_are_passed_over_are_said(tree, logged):
    read_csv(tree({'t.csv': 'file,label,present\na.jpg,cat,0\n'}) + '/t.csv')
    assert "tags are in ['label'], names in 'file'; not read: ['present']" in logged[0]


# -- COCO json ---------------------------------------------------------------------------------------------------------
CATEGORIES = [dict(id=7, name='dog'), dict(id='c', name=' cat ')]
IMAGES = [dict(id=1, file_name='a.jpg', height=4, width=6), dict(id='two', file_name='sub/b.png', category_ids=[7])]


def coco(tree, categories=CATEGORIES, images=IMAGES, annotations=(), encoding='utf-8'):
    content = dict(categories=categories, images=images, annotations=annotations)
    return tree({'t.json': json.dumps(content).encode(encoding)}) + '/t.json'


def test_coco_by_annotations_and_by_image(tree):
    annotations = [dict(image_id=1, category_id='c', bbox='never read', segmentation=3, iscrowd=1),
                   dict(image_id=1, category_id='c'), dict(image_id=1, category_id=7)]
    tagged = read_coco(coco(tree, annotations=annotations))
    assert tags(tagged) == {'a.jpg': ['cat', 'dog'], 'sub/b.png': ['dog']} and tagged.classes == ('dog', 'cat')
    assert [image.source_id for image in tagged.images] == [1, 'two'] and tagged.category_ids == dict(dog=7, cat='c')
    content = dict(categories=CATEGORIES, images=IMAGES)
    assert tags(read_coco(tree({'t.json': json.dumps(content)}) + '/t.json')) == {'a.jpg': [], 'sub/b.png': ['dog']}


@pytest.mark.parametrize('image, of, category', [(1, '1', 1), ('1', 1, 1), (1, 1, '1'), (1, 1., 1.), (1., 1, 1)])
def test_ids_of_another_kind_are_the_same_and_stay_as_they_are(image, of, category, tree):
    content = dict(categories=[dict(id=1, name='cat')], annotations=[dict(image_id=of, category_id=category)],
                   images=[dict(id=image, file_name='a.jpg')])
    tagged = read_coco(coco(tree, **content, encoding='utf-8-sig'))
    assert tags(tagged) == {'a.jpg': ['cat']} and tagged.images[0].source_id == image
    assert type(tagged.images[0].source_id) is type(image)
    content['images'].append(dict(id=str(int(image)) if image != '1' else 1, file_name='b.jpg'))
    with pytest.raises(ValueError, match=r'images\[1\].id is .*1 and "1" are one id'):
        read_coco(coco(tree, **content))


@pytest.mark.parametrize('changes, message', [
    (dict(images=None), 'images is missing'), (dict(images=[]), 'images is empty'),
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
    (dict(images=[dict(id=1, file_name='a.jpg', category_ids=7)]), r'category_ids is 7'),
    (dict(images=[dict(id=1, file_name='a.jpg', category_ids=[8])]), r'category_ids\[0\] is 8')])
def test_broken_coco(changes, message, tree):
    with pytest.raises(ValueError, match='t.json: .*' + message):
        read_coco(coco(tree, **changes))


# -- names, and the common entrance ------------------------------------------------------------------------------------
@pytest.mark.parametrize('name', ['Screenshot at 3.15.02\u202fPM.png', 'v\u00a013.05.png',
                                  '\u0645\u06cc\u200c\u062e.png', '12:30:05.png', '~sketch.png', ' a.png',
                                  'a+b (1)/#1.png', "Tom's.png", '.a.png'])
def test_any_name_that_stays_inside_is_accepted(name):
    assert safe_name(name, '') == name


@pytest.mark.parametrize('name', ['..', '../a.jpg', 'a/../../b.jpg', '/a.jpg', '\\\\host\\a.jpg', 'C:\\a.jpg',
                                  's3://bucket/a.jpg', 'a\n.jpg', '', ' ', '.', 'a\0.jpg', 3, None])
def test_names_that_lead_out(name):
    with pytest.raises(ValueError, match='somewhere: '):
        safe_name(name, 'somewhere')


def test_composed_and_decomposed_letters_are_the_same(tree):
    one, two = 'caf\u00e9', 'cafe\u0301'
    text = f'file,tag\n{one}/{one}.png,{one}\nowl/1.png,{two}\n'
    root = tree({f'{two}/{two}.png': '', 'owl/1.png': '', 'a.csv': text, 'b.csv': text + f'{two}/{two}.png,owl\n'})
    assert class_names(root, 'folders') == (one, 'owl') == class_names('', '', f'{two},owl')
    assert tags(read_tags(root, f'{root}/a.csv')) == {f'{two}/{two}.png': [one], 'owl/1.png': [one]}
    with pytest.raises(ValueError, match='twice, in two forms'):
        read_tags(root, f'{root}/b.csv')


@pytest.mark.parametrize('folder, file, message', [
    ('', 't.csv', r'b.jpg does not exist \(1 of 2 .*names in .*t.csv'),
    ('', 'no.csv', 'no.csv does not exist; set ann_file'), ('', 'a.jpg', 'not from .jpg files'),
    ('no/', 't.csv', 'image folder .*no/ does not exist; set img_root')])
def test_missing_files_are_named(folder, file, message, tree):
    root = tree({'t.csv': 'a.jpg,cat\nb.jpg,cat\n', 'a.jpg': ''})
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        read_tags(f'{root}/{folder}', f'{root}/{file}')


def test_class_names_for_a_config(tree):
    root = tree({'t.csv': 'a.jpg,cat\n', 'a.jpg': ''})
    assert class_names(root, f'{root}/t.csv') == ('cat', )
    assert class_names(root, f'{root}/t.csv', 'dog, cat') == ('dog', 'cat')
    assert class_names(f'{root}/no') == () == class_names(root, f'{root}/no.csv')
