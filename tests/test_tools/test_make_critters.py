import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from support import load_tool

tool = load_tool('tools/misc/make_critters.py')
CLASSES, render_scene = tool.CLASSES, tool.render_scene
WORDS = ('--num-train', '4', '--num-val', '2', '--size', '64')


def make(folder, *words, workers=1):
    return tool.main([str(folder), *WORDS, '--seed', '3', '--workers', str(workers), *words])


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('critters')
    assert make(folder) == 0
    return folder


@pytest.fixture(scope='module')
def scenes():
    return [render_scene((0, index), 64) for index in range(24)]


def names(root, split):
    return (root / f'ImageSets/Main/{split}.txt').read_text().split()


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


def test_files_agree(root):
    """Box tight and 1-based, class mask = class of the object mask's instance, label files = annotation."""
    assert len(names(root, 'train')) == 4 and len(names(root, 'val')) == 2
    for split in ('train', 'val'):
        assert names(root, split) == (root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
        rows = {label: dict(line.split() for line in
                            (root / f'ImageSets/Main/{label}_{split}.txt').read_text().splitlines())
                for label in CLASSES}
        for name in names(root, split):
            assert cv2.imread(str(root / f'JPEGImages/{name}.jpg')).shape == (64, 64, 3)
            pictures = [Image.open(root / f'Segmentation{kind}/{name}.png') for kind in ('Object', 'Class')]
            assert pictures[0].mode == 'P' and pictures[0].getpalette()[3:6] == [128, 0, 0]  # VOC's
            objects, classes = map(np.array, pictures)
            entries = ElementTree.parse(root / f'Annotations/{name}.xml').findall('object')
            assert 1 <= len(entries) <= 4 and objects.max() == len(entries)
            assert np.array_equal(objects > 0, classes > 0)
            for number, entry in enumerate(entries, 1):
                y, x = np.nonzero(objects == number)
                box = [int(entry.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
                assert box == [x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1]
                assert (classes[y, x] == CLASSES.index(entry.find('name').text) + 1).all()
            present = {entry.find('name').text for entry in entries}
            assert {label: rows[label][name] for label in CLASSES} == {
                label: '1' if label in present else '-1' for label in CLASSES}


def test_an_interrupted_run_is_continued(root, tmp_path):
    make(tmp_path, workers=2)
    assert files(tmp_path) == files(root)  # whatever the number of processes
    victim = names(tmp_path, 'train')[1]
    for path in (f'Annotations/{victim}.xml', f'SegmentationClass/{victim}.png', 'ImageSets/Main/train.txt'):
        (tmp_path / path).unlink()
    kept = (tmp_path / f'JPEGImages/{names(tmp_path, "val")[0]}.jpg').stat().st_mtime_ns
    make(tmp_path)
    assert files(tmp_path) == files(root)
    assert (tmp_path / f'JPEGImages/{names(tmp_path, "val")[0]}.jpg').stat().st_mtime_ns == kept


def test_bad_arguments(root, tmp_path, capsys):
    (tmp_path / 'other/Annotations').mkdir(parents=True)
    for folder, words, message in (
            (root, ('--seed', '5'), 'another folder'), (tmp_path / 'other', (), 'something else'),
            (tmp_path / 'small', ('--size', '16'), 'below 32')):
        assert make(folder, *words) == 2 and message in capsys.readouterr().err


def test_scenes_hold_one_to_four_animals_that_meet(scenes):
    assert {len(scene.labels) for scene in scenes} == {1, 2, 3, 4}
    meet = 0
    for scene in scenes:
        masks = [scene.instances == number for number in range(1, len(scene.labels) + 1)]
        assert all(mask.any() for mask in masks)
        grown = [cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) for mask in masks]
        meet += any((a & b).any() for i, a in enumerate(grown) for b in grown[:i])
    assert meet >= 4
    labels = np.concatenate([scene.labels for scene in scenes])
    assert np.bincount(labels, minlength=len(CLASSES)).min() >= 2


@pytest.mark.parametrize('seed', range(3))
def test_class_changes_only_the_head(seed):
    """The proof that bodies carry no class: same random state, other class, same pixels outside the head zones."""
    first, *others = [render_scene((1, seed), 64, labels=[label]) for label in range(len(CLASSES))]
    zone = first.zones.any(0)
    assert zone.mean() < 0.5
    for scene in others:
        assert np.array_equal(scene.zones, first.zones)
        differs = (scene.image != first.image).any(-1)
        assert differs.any(), 'the classes look alike'
        assert not (differs & ~zone).any()
        assert not ((scene.instances != first.instances) & ~zone).any()
