import pytest

from mmiam.datasets import VOCSingleObjectDataset

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackWeakInputs')]


def build(root, **kwargs):
    return VOCSingleObjectDataset(data_root=str(root), ann_file='ImageSets/Segmentation/val.txt',
                                  pipeline=PIPELINE, **kwargs)


def test_images_of_one_object_with_its_box(mini_voc):
    """v0 has a dog at (4, 4, 20, 20); v1 has two objects."""
    data = build(mini_voc(), metainfo=dict(classes=('cat', 'dog', 'person')))
    assert len(data) == 1
    sample = data[0]['data_samples']
    assert sample.img_id == 'v0' and sample.image_labels == [1]
    assert sample.instances == [dict(bbox=[4., 4., 20., 20.], bbox_label=1, ignore_flag=0)]


def test_an_object_of_another_class_is_an_object_too(mini_voc):
    root = mini_voc()
    with pytest.raises(ValueError, match='val.txt: none of the 2 images has a single object'):
        build(root, metainfo=dict(classes=('cat', )))  # v1's cat has company


def test_boxes_are_for_evaluation(mini_voc):
    with pytest.raises(ValueError, match='for evaluation only'):
        build(mini_voc(), test_mode=False)


@pytest.mark.parametrize('old, new', [('<xmin>5</xmin>', ''), ('<xmin>5</xmin>', '<xmin>25</xmin>'),
                                      ('<xmin>5</xmin>', '<xmin>a</xmin>')])
def test_a_bad_box_names_its_file(old, new, mini_voc):
    root = mini_voc()
    path = root / 'Annotations/v0.xml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match='v0.xml: .*restore the file'):
        build(root)
