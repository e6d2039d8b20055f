import pytest

from mmiam.datasets.image_lists import read_image_list
from mmiam.datasets.voc_labels import labels_from_imagesets, read_objects

CLASSES = ('cat', 'dog')


def test_list_of_ids_and_of_path_pairs(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('2007_000032\n\n  2008_1-a.b \n/JPEGImages/2009_7.jpg /SegmentationClassAug/2009_7.png\n')
    assert read_image_list(str(path)) == ['2007_000032', '2008_1-a.b', '2009_7']


@pytest.mark.parametrize('line', ['../../secret', '/etc/passwd', 'a/b', '..', 'C:\\x',
                                  '/JPEGImages/../x.jpg', '/JPEGImages/...jpg b'])
def test_a_list_cannot_lead_elsewhere(tmp_path, line):
    path = tmp_path / 'list.txt'
    path.write_text(f'ok\n{line}\n')
    with pytest.raises(ValueError, match=r'list.txt: .*one id a line'):
        read_image_list(str(path))


def test_missing_list(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.txt.*docs/data.md'):
        read_image_list(str(tmp_path / 'none.txt'))


@pytest.mark.parametrize('name', ['img (1)', 'Köln_01', '图像_01', "tom's_cat", 'a+b', '#1', '-001', '.a',
                                  '2024-05-01T12:30:05', 'a\u202fb'])
def test_any_name_that_stays_in_its_folder_is_an_id(tmp_path, name):
    (tmp_path / 'list.txt').write_text(f'{name}\n', encoding='utf-8')
    assert read_image_list(str(tmp_path / 'list.txt')) == [name]


def test_xml_labels_and_other_names(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text('<annotation><object><name>dog</name><difficult>1</difficult><part><name>cat</name></part></object>'
                    '<object><name>dog</name></object><object><name>horse</name></object></annotation>')
    found = read_objects(str(path))
    assert [name for name, _ in found] == ['dog', 'dog', 'horse']  # difficult counts; the name of a part does not


@pytest.mark.parametrize('text, match', [('<annotation><obj', 'not well-formed'),
                                         ('<annotation><object/></annotation>', 'object 1 has no <name>')])
def test_broken_xml_is_named(tmp_path, text, match):
    path = tmp_path / 'bad.xml'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'bad.xml.*{match}'):
        read_objects(str(path))


def test_missing_xml(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.xml.*imagesets'):
        read_objects(str(tmp_path / 'gone.xml'))


def test_imagesets_flags(tmp_path):
    (tmp_path / 'cat_train.txt').write_text('\ufeffa  1\nb -1\nc  0\nd 1\n', encoding='utf-8')
    (tmp_path / 'dog_train.txt').write_text('a  1\nb -1\nc -1\nd -1\n')
    labels = labels_from_imagesets(str(tmp_path), 'train', CLASSES, ['c', 'a', 'b'])
    assert labels == [[0], [0, 1], []]  # difficult (0) is positive


def test_imagesets_errors(tmp_path):
    (tmp_path / 'cat_train.txt').write_text('a 1\n')
    with pytest.raises(FileNotFoundError, match='dog_train.txt.*label_split'):
        labels_from_imagesets(str(tmp_path), 'train', CLASSES, ['a'])
    with pytest.raises(ValueError, match="cat_train.txt does not list image 'z'"):
        labels_from_imagesets(str(tmp_path), 'train', CLASSES, ['a', 'z'])
    (tmp_path / 'dog_train.txt').write_text('a 1\nb 2\n')
    with pytest.raises(ValueError, match='dog_train.txt, line 2'):
        labels_from_imagesets(str(tmp_path), 'train', CLASSES, ['a'])
