"""WeakLabelDataset in the pipelines of training and test."""
import json
import shutil

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from PIL import Image
from support import CONFIGS

from mmiam.datasets.tag_files import FOLDERS
from mmiam.proposals.generators import SelectiveMerging
from mmiam.proposals.io import load_proposals

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackWeakInputs')
CONFIG = CONFIGS / 'iam-plus_mbv2_own.py'


@pytest.fixture
def photos(tmp_path):
    """Folder with cat/1.png, dog/1.png and dog/2.png, 12 x 16 pixels; beside it a CSV of other tags."""
    rng = np.random.default_rng(0)
    for name in ('cat/1.png', 'dog/1.png', 'dog/2.png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(path)
    (tmp_path / 'tags.csv').write_text('dog/1.png,dog,cat\ncat/1.png,bird\ndog/2.png\n')
    return tmp_path / 'photos'


def build(photos, ann_file=FOLDERS, pipeline=(LOAD, PACK), **kwargs):
    return DATASETS.build(dict(type='WeakLabelDataset', img_root=str(photos), ann_file=str(ann_file),
                               pipeline=list(pipeline), **kwargs))


def coco(photos, **changes):
    """A COCO file of one image, dog/1.png."""
    image = dict(id=1, file_name='dog/1.png', height=12, width=16)
    content = dict(categories=[dict(id=3, name='dog')], images=[image],
                   annotations=[dict(id=1, image_id=1, category_id=3, **changes)])
    (photos.parent / 'tags.json').write_text(json.dumps(content))
    return photos.parent / 'tags.json'


def labels(data):
    return {data.image_name(i): data.get_cat_ids(i) for i in range(len(data))}


def test_folders(photos):
    data = build(photos)
    assert data.metainfo['classes'] == ('cat', 'dog') and len(data.metainfo['palette']) == 2
    assert labels(data) == {'cat/1.png': [0], 'dog/1.png': [1], 'dog/2.png': [1]}
    sample = data[0]['data_samples']
    assert sample.img_id == 'cat/1.png' and sample.ori_shape == (12, 16) and sample.image_labels == [0]
    with pytest.raises(ValueError, match=r'takes img_root \(the image folder\) and no data_root'):
        build(photos, data_root='x')


def test_csv_filter_and_chosen_classes(photos, logged):
    file = photos.parent / 'tags.csv'
    assert labels(build(photos, file)) == {'dog/1.png': [1, 2], 'cat/1.png': [0]}  # bird, cat, dog
    assert '1 of 3 images left out: no image-level label' in logged.pop()
    assert len(build(photos, file, test_mode=True)) == 3
    logged.clear()
    data = build(photos, file, metainfo=dict(classes=('dog', 'cat')))
    assert labels(data) == {'dog/1.png': [0, 1]}
    assert "3 images {'.png': 3}, of each tag: {'dog': 1, 'cat': 1, 'bird': 1}" in logged[0]
    assert "tags that are not among the classes were left out: {'bird': 1}" in logged[1]
    with pytest.raises(ValueError, match='none of the 3 images has a label'):
        build(photos, file, metainfo=dict(classes=('boat', )))


def test_only_category_ids_and_the_files_own_size_count(photos):
    """Any boxes and masks give the same entries; the size is that of the file, turned as the loader turns it."""
    exif = Image.Exif()
    exif[0x112] = 6
    Image.open(photos / 'dog/1.png').save(photos / 'dog/1.png', exif=exif.tobytes())
    built = [build(photos, coco(photos, bbox=box, segmentation=mask))
             for box, mask in (([0, 0, 4, 4], [[0, 0, 4, 0, 4, 4]]), ('none', None))]
    first, second = (data.get_data_info(0) for data in built)
    assert first == second and first['image_labels'] == [0] and first['source_id'] == 1
    assert not [key for key in first if 'box' in key or 'mask' in key or 'instances' in key]
    assert (first['height'], first['width']) == (16, 12) == built[0][0]['data_samples'].ori_shape
    assert built[0].metainfo['category_ids'] == dict(dog=3)


def test_proposals_of_equal_stems_in_two_folders(photos, tmp_path):
    for name in ('cat/1', 'dog/1', 'dog/2'):
        target = tmp_path / f'proposals/{name}.npz'
        target.parent.mkdir(parents=True, exist_ok=True)
        SelectiveMerging()(np.array(Image.open(photos / f'{name}.png'))).save(target)
    pipeline = [LOAD, dict(type='LoadSegmentProposals', proposal_root=str(tmp_path / 'proposals')), PACK]
    data = build(photos, pipeline=pipeline)
    for index, name in enumerate(('cat/1', 'dog/1', 'dog/2')):
        want = load_proposals(tmp_path / f'proposals/{name}.npz').masks()
        np.testing.assert_array_equal(data[index]['data_samples'].segment_proposals.masks(), want)
    (tmp_path / 'proposals/dog/1.npz').unlink()
    with pytest.raises(FileNotFoundError, match='dog/1.npz does not exist'):
        data[1]


def test_images_that_are_refused(photos):
    Image.fromarray(np.zeros((12, 16), np.int32)).save(photos / 'cat/0.tif')
    with pytest.raises(ValueError, match='cat/0.tif is of a kind that OpenCV does not read'):
        build(photos)[0]
    shutil.copy(photos / 'cat/1.png', photos / 'cat/1.bmp')
    with pytest.raises(ValueError, match='cat/1.bmp and cat/1.png differ in the suffix alone'):
        build(photos)


def test_config_takes_classes_from_tags_or_environment(photos, monkeypatch):
    cfg = Config.fromfile(CONFIG)
    assert cfg.model.peak_head.num_classes == 1 and 'metainfo' not in cfg.train_dataloader.dataset
    monkeypatch.setenv('OWN_IMAGES', str(photos))
    cfg = Config.fromfile(CONFIG)
    assert cfg.model.peak_head.num_classes == 2 and cfg.train_dataloader.dataset.ann_file == FOLDERS
    assert tuple(cfg.test_dataloader.dataset.metainfo.classes) == ('cat', 'dog')
    monkeypatch.setenv('OWN_LABELS', str(photos.parent / 'tags.csv'))
    cfg = Config.fromfile(CONFIG)
    assert cfg.model.peak_head.num_classes == 3
    assert cfg.val_dataloader.dataset.ann_file == str(photos.parent / 'tags.csv')
    monkeypatch.setenv('OWN_CLASSES', 'dog,cat')
    cfg = Config.fromfile(CONFIG)
    assert cfg.model.peak_head.num_classes == 2
    assert tuple(DATASETS.build(cfg.test_dataloader.dataset).metainfo['classes']) == ('dog', 'cat')
    cfg.dump(photos.parent / 'dumped.py')
    monkeypatch.delenv('OWN_CLASSES')
    assert Config.fromfile(photos.parent / 'dumped.py').to_dict() == cfg.to_dict()


def test_environment_variables_are_values_and_an_empty_one_is_none(photos, monkeypatch):
    for folder in ("Tom's photos", 'C:\\Users\\new', 'a"b {{$X:y}} \\g<0>'):
        monkeypatch.setenv('OWN_IMAGES', folder)
        assert Config.fromfile(CONFIG).train_dataloader.dataset.img_root == folder
    monkeypatch.setenv('OWN_IMAGES', str(photos))
    monkeypatch.setenv('OWN_CLASSES', "cat,lion's mane")
    assert Config.fromfile(CONFIG).model.peak_head.num_classes == 2
    for name in ('OWN_LABELS', 'OWN_VAL_LABELS', 'OWN_CLASSES', 'OWN_PROPOSALS'):
        monkeypatch.setenv(name, '')
    cfg = Config.fromfile(CONFIG)
    assert cfg.val_dataloader.dataset.ann_file == cfg.train_dataloader.dataset.ann_file == FOLDERS
