"""Lists and labels in VOC's layout."""
import pytest

from mmiam.datasets.image_labels import labels_from_imagesets, read_image_list, read_objects


@pytest.mark.parametrize('text, ids', [
    ('2007_000032\n\n  2008_1-a.b \n/JPEGImages/2009_7.jpg /SegmentationClassAug/2009_7.png\n',
     ['2007_000032', '2008_1-a.b', '2009_7']),
    *((f'{name}\n', [name]) for name in ('img (1)', 'Köln_01', '图像_01', "tom's_cat", 'a+b', '#1', '-001', '.a',
                                         '2024-05-01T12:30:05', 'a\u202fb'))])  # whatever stays in its folder
def test_image_files(text, ids, tree):
    assert read_image_list(tree({'list.txt': text}) + '/list.txt') == ids


@pytest.mark.parametrize('line', ['../../secret', '/etc/passwd', 'a/b', '..', 'C:\\x', 'a\x07',
                                  '/JPEGImages/../x.jpg', '/JPEGImages/...jpg b'])
def test_a_list_cannot_lead_elsewhere(line, tree):
    root = tree({'list.txt': f'ok\n{line}\n'})
    with pytest.raises(ValueError, match=r'list.txt: .*one id a line'):
        read_image_list(f'{root}/list.txt')
    with pytest.raises(FileNotFoundError, match='none.txt.*docs/data.md'):
        read_image_list(f'{root}/none.txt')


def test_names_of_objects(tree):
    found = read_objects(tree({'a.xml': (
        '<annotation><object><name> dog </name><difficult>1</difficult><part><name>cat</name></part></object>'
        '<object><name>dog</name></object><object><name>horse</name></object></annotation>')}) + '/a.xml')
    assert [name for name, _ in found] == ['dog', 'dog', 'horse']  # difficult counts; the name of a part does not


@pytest.mark.parametrize('text, message', [('<annotation><obj', 'not well-formed'),
                                           ('<annotation><object/></annotation>', 'object 1 has no <name>')])
def test_broken_xml_is_named(text, message, tree):
    root = tree({'bad.xml': text})
    with pytest.raises(ValueError, match=f'bad.xml.*{message}'):
        read_objects(f'{root}/bad.xml')
    with pytest.raises(FileNotFoundError, match='gone.xml.*imagesets'):
        read_objects(f'{root}/gone.xml')


def test_flags(tree):
    root = tree({'cat_train.txt': '\ufeffa  1\nb -1\nc  0\nd 1\n', 'dog_train.txt': 'a  1\nb -1\nc -1\nd -1\n'})
    labels = labels_from_imagesets(root, 'train', ('cat', 'dog'), ['c', 'a', 'b'])
    assert labels == [[0], [0, 1], []]  # difficult (0) is positive


@pytest.mark.parametrize('files, ids, error, message', [
    ({'cat_x.txt': 'a 1\n'}, ['a'], FileNotFoundError, 'dog_x.txt.*label_split'),
    ({'cat_x.txt': 'a 1\n'}, ['a', 'z'], ValueError, "cat_x.txt does not list image 'z'"),
    ({'cat_x.txt': 'a 1\nb 2\n'}, ['a'], ValueError, 'cat_x.txt, line 2')])
def test_broken_flags_are_named(files, ids, error, message, tree):
    with pytest.raises(error, match=message):
        labels_from_imagesets(tree(files), 'x', ('cat', 'dog'), ids)
