import hashlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

MISC = Path(__file__).resolve().parents[2] / 'tools' / 'misc'
sys.path.insert(0, str(MISC))

from critters import CLASSES, render_scene, write_dataset  # noqa: E402
from critters.heads import paint_head  # noqa: E402
from critters.voc_writer import voc_palette  # noqa: E402

SIZE, TRAIN, VAL = 64, 4, 2


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('critters'), TRAIN, VAL, SIZE, seed=3)


def names(root, split):
    return (root / f'ImageSets/Main/{split}.txt').read_text().split()


def digests(root):
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob('*')) if path.is_file()}


def png(path):
    return np.array(Image.open(path))


def touch(masks):
    """Whether two of the masks are neighbours."""
    grown = [cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) for mask in masks]
    return any((a & b).any() for i, a in enumerate(grown) for b in grown[:i])


def test_layout(root):
    assert len(names(root, 'train')) == TRAIN and len(names(root, 'val')) == VAL
    assert not set(names(root, 'train')) & set(names(root, 'val'))
    for split in ('train', 'val'):
        assert names(root, split) == (root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
        for name in names(root, split):
            image = cv2.imread(str(root / f'JPEGImages/{name}.jpg'))
            assert image.shape == (SIZE, SIZE, 3) and image.std() > 5


def test_annotations_agree_with_masks(root):
    """Box tight and 1-based, class mask = class of the object mask's instance, label files = annotation."""
    for split in ('train', 'val'):
        rows = {label: dict(line.split() for line in
                            (root / f'ImageSets/Main/{label}_{split}.txt').read_text().splitlines())
                for label in CLASSES}
        for name in names(root, split):
            tree = ElementTree.parse(root / f'Annotations/{name}.xml')
            objects, classes = (png(root / f'Segmentation{kind}/{name}.png') for kind in ('Object', 'Class'))
            entries = tree.findall('object')
            assert 1 <= len(entries) <= 4 and objects.max() == len(entries)
            assert np.array_equal(objects > 0, classes > 0)
            for number, entry in enumerate(entries, 1):
                y, x = np.nonzero(objects == number)
                box = [int(entry.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
                assert box == [x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1]
                assert (classes[y, x] == CLASSES.index(entry.find('name').text) + 1).all()
                assert entry.find('difficult').text == '0'
            present = {entry.find('name').text for entry in entries}
            assert {label: rows[label][name] for label in CLASSES} == {
                label: '1' if label in present else '-1' for label in CLASSES}


def test_masks_are_palette_images(root):
    image = Image.open(root / f'SegmentationObject/{names(root, "val")[0]}.png')
    assert image.mode == 'P'
    assert voc_palette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # VOC's first four colours
    assert voc_palette()[-3:] == [224, 224, 192]


def test_the_data_set_class_reads_it(root):
    from mmiam.datasets.voc_instance import VOCInstanceDataset
    dataset = VOCInstanceDataset(data_root=str(root), ann_file='ImageSets/Segmentation/val.txt',
                                 metainfo=dict(classes=CLASSES), pipeline=[], test_mode=True)
    assert len(dataset) == VAL
    for index, name in enumerate(names(root, 'val')):
        info = dataset.get_data_info(index)
        present = {found.text for found in ElementTree.parse(root / f'Annotations/{name}.xml').iter('name')}
        assert info['img_id'] == name and {CLASSES[label] for label in info['image_labels']} == present


def test_files_do_not_depend_on_workers_or_on_an_interruption(root, tmp_path):
    other = write_dataset(tmp_path / 'two', TRAIN, VAL, SIZE, seed=3, workers=2)
    assert digests(other) == digests(root)
    victim = names(other, 'train')[1]
    for path in (f'Annotations/{victim}.xml', f'SegmentationClass/{victim}.png', 'ImageSets/Main/train.txt'):
        (other / path).unlink()
    kept = (other / f'JPEGImages/{names(other, "val")[0]}.jpg').stat().st_mtime_ns
    write_dataset(other, TRAIN, VAL, SIZE, seed=3)
    assert digests(other) == digests(root)
    assert (other / f'JPEGImages/{names(other, "val")[0]}.jpg').stat().st_mtime_ns == kept


def test_another_seed_is_another_data_set(root, tmp_path):
    other = write_dataset(tmp_path / 'other', 1, 0, SIZE, seed=4)
    name = names(other, 'train')[0]
    assert (other / f'JPEGImages/{name}.jpg').read_bytes() != (root / f'JPEGImages/{name}.jpg').read_bytes()


def test_two_recipes_are_not_mixed(root, tmp_path):
    with pytest.raises(FileExistsError, match='give another folder'):
        write_dataset(root, TRAIN, VAL, SIZE, seed=5)
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / 'a.xml').touch()
    with pytest.raises(FileExistsError, match='no critters.json'):
        write_dataset(tmp_path, 1, 0, SIZE)


def test_void_border(tmp_path):
    plain, bordered = (write_dataset(tmp_path / str(void), 1, 0, SIZE, void_border=void) for void in (False, True))
    name = names(plain, 'train')[0]
    inner, outer = (png(path / f'SegmentationObject/{name}.png') for path in (plain, bordered))
    void = outer == 255
    assert void.any() and np.array_equal(inner[~void], outer[~void])
    assert np.array_equal(void, png(bordered / f'SegmentationClass/{name}.png') == 255)
    # void are the pixels with another region among their eight neighbours, no more
    padded = np.pad(inner, 1, mode='edge')
    near = np.stack([padded[y:y + SIZE, x:x + SIZE] for y in range(3) for x in range(3)])
    assert np.array_equal(void, (near != inner).any(0))


def test_scenes_hold_one_to_four_animals_that_meet():
    scenes = [render_scene((0, index), SIZE) for index in range(24)]
    counts = [len(scene.labels) for scene in scenes]
    assert set(counts) == {1, 2, 3, 4}
    assert sum(touch(scene.masks) for scene in scenes) >= 4
    for scene in scenes:
        assert (scene.masks.sum(0) <= 1).all() and scene.masks.any((1, 2)).all()
    areas = np.concatenate([scene.masks.sum((1, 2)) for scene in scenes])
    assert areas.max() > 2.5 * areas.min()


def test_heads_are_a_small_part():
    scenes = [render_scene((0, index), SIZE) for index in range(24)]
    shares = [h.sum() / m.sum() for scene in scenes for h, m in zip(scene.heads, scene.masks)]
    assert 0.15 < np.mean(shares) < 0.25


@pytest.mark.parametrize('seed', range(6))
def test_class_changes_only_the_head(seed):
    """The proof that bodies carry no class: same random state, other class, same pixels outside the head zones."""
    scenes = [render_scene((1, seed), SIZE, labels=[label]) for label in range(len(CLASSES))]
    first = scenes[0]
    zone = first.head_zones.any(0)
    assert zone.mean() < 0.5
    for scene in scenes[1:]:
        assert len(scene.labels) == len(first.labels)
        assert np.array_equal(scene.head_zones, first.head_zones)
        differs = (scene.image != first.image).any(-1)
        assert differs.any(), 'the classes look alike'
        assert not (differs & ~zone).any()
        assert not ((scene.instances != first.instances) & ~zone).any()


def test_drawn_classes_are_spread():
    labels = [label for index in range(40) for label in render_scene((2, index), 32).labels]
    assert np.bincount(labels, minlength=len(CLASSES)).min() >= 4


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match='below 32'):
        render_scene(0, 16)
    with pytest.raises(ValueError, match='labels is empty'):
        render_scene(0, 32, labels=[])
    with pytest.raises(ValueError, match='workers is 0'):
        write_dataset(tmp_path, 1, 1, workers=0)
    with pytest.raises(KeyError, match='choose from badger'):
        grid = np.zeros((2, 2))
        paint_head('dodo', np.zeros((2, 2, 3)), grid > 0, grid, grid, np.random.default_rng(0))


def test_command_line(tmp_path):
    command = [sys.executable, str(MISC / 'make_critters.py'), str(tmp_path / 'out'), '--num-train', '1',
               '--num-val', '1', '--size', '32', '--workers', '1']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / 'out')
    failed = subprocess.run([*command, '--seed', '9'], cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith('make_critters: ') and 'Traceback' not in failed.stderr
