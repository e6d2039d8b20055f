"""Which photos there are, one mask a region, pictures and files."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmiam.apis import find_images, init_model, photos


@pytest.fixture
def folder(tmp_path):
    """Photos in folders within folders, two of one name."""
    rng = np.random.default_rng(0)
    for name in ('a/cat.png', 'b/c/cat.png', 'b/dog.jpg'):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'in' / name), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    for name in ('b/phone.HEIC', '.hidden/cat.jpg', 'a/._cat.png', 'notes.txt'):
        (tmp_path / 'in' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'in' / name).write_bytes(b'something')
    return tmp_path / 'in'


def test_images_of_files_folders_and_lists_once_each(folder, tmp_path):
    def names(*sources):
        return [path[len(str(folder)) + 1:] for path in find_images(*(str(folder / source) for source in sources))]

    assert names('b/dog.jpg', '') == ['b/dog.jpg', 'a/cat.png', 'b/c/cat.png', 'b/phone.HEIC']
    (folder / 'a/list.txt').write_text('cat.png\n\n../b/dog.jpg\n')
    assert names('a/list.txt') == ['a/cat.png', 'a/../b/dog.jpg']
    (tmp_path / 'elsewhere').mkdir()
    (folder / 'a/cat.png').rename(tmp_path / 'elsewhere/cat.png')
    (folder / 'linked').symlink_to(tmp_path / 'elsewhere')
    (folder / 'linked/circle').symlink_to(folder)
    assert names('') == ['b/c/cat.png', 'b/dog.jpg', 'b/phone.HEIC', 'linked/cat.png']
    (folder / 'empty').mkdir()
    for source, message in (('nowhere', 'nowhere does not exist$'), ('empty', 'no image in .*empty; images are .jpg'),
                            ('a/list.txt', r'cat.png does not exist \(1 of 2 images are missing\)')):
        with pytest.raises(FileNotFoundError, match=message):
            names(source)


def test_tags_are_classes_in_any_case_and_by_any_of_their_names():
    classes = ('tench, Tinca tinca', 'tabby, tabby cat', 'dog')
    assert photos.labels_of(['Tabby cat', ' dog', 'tench, tinca tinca'], classes) == [1, 2, 0]
    with pytest.raises(ValueError, match="'tabbie'.*did you mean tabby"):
        photos.labels_of(['tabbie'], classes)
    with pytest.raises(ValueError, match='tench'):
        photos.labels_of(['xylophone'], classes)


def instances():
    """Two masks of one region and two classes, one elsewhere, one of a low score."""
    masks = torch.zeros(4, 20, 30, dtype=torch.bool)
    masks[0, 2:10, 2:10], masks[1, 2:10, 2:11] = True, True
    masks[2, 12:18, 12:28], masks[3, 0:2, 20:30] = True, True
    return InstanceData(masks=masks, labels=torch.tensor([0, 1, 0, 1]), scores=torch.tensor([.5, .9, .7, .1]))


def test_of_one_region_the_best_mask_stays():
    assert photos.one_a_region(instances(), 0.3).scores.tolist() == pytest.approx([.9, .7])
    assert photos.one_a_region(instances(), 0.).scores.tolist() == pytest.approx([.9, .7, .1])
    # of the wanted classes alone: the other class must not push a mask out first
    assert photos.one_a_region(instances(), 0.3, [0]).scores.tolist() == pytest.approx([.7, .5])
    assert len(photos.one_a_region(instances()[:0])) == 0


def test_parts_of_a_mask_go_within_their_class_alone():
    """A small mask in a large one: of the same class a part of it, of another an object before it."""
    masks = torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[0], masks[1, 2:8, 2:8] = True, True
    for labels, count in (([1, 1], 1), ([1, 2], 2)):
        given = InstanceData(masks=masks, labels=torch.tensor(labels), scores=torch.tensor([.6, .5]))
        assert len(photos.one_a_region(given)) == count


def test_pictures_are_of_bounded_size_with_percent(monkeypatch):
    seen = []
    draw = photos.overlay_instances
    monkeypatch.setattr(photos, 'overlay_instances', lambda *args, **settings: seen.append((args, settings)) or draw(
        *args, **settings))
    small = photos.draw_photo(np.zeros((20, 30, 3), np.uint8), instances(), ('cat, house cat', 'dog'))
    assert small.shape == (20, 30, 3) and seen[0][0][2] == ['cat 50%', 'dog 90%', 'cat 70%', 'dog 10%']
    large = InstanceData(masks=torch.zeros(1, 3000, 2000, dtype=torch.bool), labels=torch.tensor([0]),
                         scores=torch.tensor([1.]))
    large.masks[0, 1500:] = True
    picture = photos.draw_photo(np.zeros((3000, 2000, 3), np.uint8), large, ('cat', ))
    assert picture.shape == (1600, 1067, 3) and not picture[:700].any() and picture[900:].any(2).all()
    assert seen[1][1]['label_size'] > 3 * seen[0][1]['label_size']  # legible when the picture is looked at as a whole
    assert photos.draw_photo(np.zeros((2000, 3000, 3), np.uint8), large[:0], ('cat', )).shape == (1067, 1600, 3)


@pytest.fixture
def model(tiny_config):
    cfg = tiny_config()
    cfg.model.post_processor.nms_iou = None
    torch.manual_seed(0)
    model = init_model(cfg, device='cpu')
    model.peak_head.classifier.bias.data.fill_(1.)
    model.filler.decoder.layers[-1].bias.data.fill_(2.)  # masks that are not empty
    return model


def test_files_of_a_folder(model, folder, tmp_path):
    whole = (folder / 'b/dog.jpg').read_bytes()
    (folder / 'b/dog.jpg').write_bytes(whole[:len(whole) * 2 // 3])  # OpenCV reads it, its rest gray
    paths = find_images(str(folder / 'a'), str(folder / 'b/c'), str(folder / 'b/dog.jpg'))
    with pytest.warns(UserWarning, match='dog.jpg'):
        found = list(photos.predict_photos(model, paths, str(tmp_path / 'out'), min_score=0., form='yolo'))
    assert [found[i][0] for i in range(3)] == paths and [one[1] is None for one in found] == [False, False, True]
    assert all(len(one[1]) for one in found[:2]) and found[0][2] == ('cat', 'dog', 'person')
    written = {path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.*')}
    assert written == {'pictures/a/cat.png', 'pictures/b/c/cat.png', 'predictions.json', 'data.yaml',
                       'labels/a/cat.txt', 'labels/b/c/cat.txt'}
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert len(content['annotations']) == sum(len(one[1]) for one in found[:2])
    picture = cv2.imread(str(tmp_path / 'out/pictures/a/cat.png'))
    assert picture.shape == (24, 32, 3) and (picture != cv2.imread(paths[0])).any()


def test_tags_and_least_score(model, folder, tmp_path):
    paths = [str(folder / 'a/cat.png')]
    (_, some, _), = photos.predict_photos(model, paths, str(tmp_path / 'out'), tags=['dog'], min_score=0.)
    assert len(some) and set(some.labels.tolist()) == {1}
    (_, none, _), = photos.predict_photos(model, paths, str(tmp_path / 'out'), min_score=1.)
    assert len(none) == 0
    with pytest.raises(ValueError, match="'dgo'.*dog"):
        next(photos.predict_photos(model, paths, str(tmp_path / 'out'), tags=['dgo']))


def test_prompts_have_the_name_that_is_given_and_no_least_score(model, folder, tmp_path):
    paths, prompts = [str(folder / 'a/cat.png')], [dict(point=(4, 5)), dict(box=(10, 2, 28, 18))]
    for tags, name in (((), 'object'), (('cup', ), 'cup')):
        (_, found, classes), = photos.predict_photos(model, paths, str(tmp_path / 'out'), prompts, tags, min_score=1.)
        content = json.loads((tmp_path / 'out/predictions.json').read_text())
        assert classes == (name, ) and content['categories'] == [dict(id=1, name=name)]
        assert len(content['annotations']) == len(found) == 2
    with pytest.raises(ValueError, match='outside'):
        list(photos.predict_photos(model, paths, str(tmp_path / 'out'), [dict(point=(40, 5))]))
