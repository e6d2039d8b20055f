import hashlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

TOOL = Path(__file__).resolve().parents[2] / 'tools/misc/make_critters.py'
sys.path.insert(0, str(TOOL.parent))

from make_critters import CLASSES, main, render_scene, write_dataset  # noqa: E402

SIZE, TRAIN, VAL = 64, 4, 2


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('critters')
    write_dataset(folder, TRAIN, VAL, SIZE, seed=3)
    return folder


@pytest.fixture(scope='module')
def scenes():
    return [render_scene((0, index), SIZE) for index in range(24)]


def names(root, split):
    return (root / f'ImageSets/Main/{split}.txt').read_text().split()


def digests(root):
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob('*')) if path.is_file()}


def test_files_agree(root):
    """Box tight and 1-based, class mask = class of the object mask's instance, label files = annotation."""
    assert len(names(root, 'train')) == TRAIN and len(names(root, 'val')) == VAL
    for split in ('train', 'val'):
        assert names(root, split) == (root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
        rows = {label: dict(line.split() for line in
                            (root / f'ImageSets/Main/{label}_{split}.txt').read_text().splitlines())
                for label in CLASSES}
        for name in names(root, split):
            assert cv2.imread(str(root / f'JPEGImages/{name}.jpg')).shape == (SIZE, SIZE, 3)
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
    write_dataset(tmp_path, TRAIN, VAL, SIZE, seed=3)
    victim = names(tmp_path, 'train')[1]
    for path in (f'Annotations/{victim}.xml', f'SegmentationClass/{victim}.png', 'ImageSets/Main/train.txt'):
        (tmp_path / path).unlink()
    kept = (tmp_path / f'JPEGImages/{names(tmp_path, "val")[0]}.jpg').stat().st_mtime_ns
    write_dataset(tmp_path, TRAIN, VAL, SIZE, seed=3)
    assert digests(tmp_path) == digests(root)
    assert (tmp_path / f'JPEGImages/{names(tmp_path, "val")[0]}.jpg').stat().st_mtime_ns == kept


def test_two_recipes_are_not_mixed(root, tmp_path):
    with pytest.raises(FileExistsError, match='another folder'):
        write_dataset(root, TRAIN, VAL, SIZE, seed=5)
    (tmp_path / 'Annotations').mkdir()
    with pytest.raises(FileExistsError, match='something else'):
        write_dataset(tmp_path, 1, 0, SIZE)


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
    first, *others = [render_scene((1, seed), SIZE, labels=[label]) for label in range(len(CLASSES))]
    zone = first.zones.any(0)
    assert zone.mean() < 0.5
    for scene in others:
        assert np.array_equal(scene.zones, first.zones)
        differs = (scene.image != first.image).any(-1)
        assert differs.any(), 'the classes look alike'
        assert not (differs & ~zone).any()
        assert not ((scene.instances != first.instances) & ~zone).any()


@pytest.mark.slow
def test_files_do_not_depend_on_workers(root, tmp_path):
    subprocess.run([sys.executable, str(TOOL), str(tmp_path), '--num-train', str(TRAIN), '--num-val', str(VAL),
                    '--size', str(SIZE), '--seed', '3', '--workers', '2'], check=True)
    assert digests(tmp_path) == digests(root)


def test_bad_arguments(tmp_path, capsys):
    assert main([str(tmp_path / 'a'), '--size', '16', '--workers', '1']) == 2
    assert 'below 32' in capsys.readouterr().err
    assert main([str(tmp_path / 'b'), '--num-train', '1', '--num-val', '0', '--size', '32', '--workers', '1']) == 0
    assert main([str(tmp_path / 'b'), '--seed', '9']) == 2 and 'another folder' in capsys.readouterr().err
