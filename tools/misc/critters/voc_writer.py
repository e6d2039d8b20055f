"""Write scenes as a folder in PASCAL VOC's layout: safely, in parallel, resumable.

Boxes are VOC's: 1-based, both ends inclusive. Masks are palette PNGs: SegmentationClass holds class index
+ 1, SegmentationObject the number of the object in the order of the annotation, 0 background; with a void
border, 255 on the pixels between regions.
"""
from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .heads import CLASSES
from .scene import render_scene

VERSION = 3  # raised when the drawing changes, so that an older folder is not continued
FOLDERS = ('JPEGImages', 'Annotations', 'SegmentationClass', 'SegmentationObject', 'ImageSets/Main',
           'ImageSets/Segmentation')
SPLITS = ('train', 'val')
RECIPE = 'critters.json'


def voc_palette():
    """VOC's colour map: 256 RGB colours from the bits of the index, as a flat list of 768 numbers."""
    palette = np.zeros((256, 3), int)
    for index in range(256):
        for bit in range(8):
            palette[index] |= [(index >> (3 * bit + channel) & 1) << (7 - bit) if 3 * bit + channel < 8 else 0
                               for channel in range(3)]
    return palette.ravel().tolist()


def write_dataset(out, num_train=600, num_val=120, size=128, seed=0, workers=1, void_border=False, report=None):
    """Generate the data set; images that are there already are kept.

    Args:
        out (str | Path): Folder to fill; made when missing.
        num_train (int): Training images.
        num_val (int): Validation images.
        size (int): Side of the images in pixels.
        seed (int): The files follow from it, whatever ``workers`` is.
        workers (int): Processes; 1 works in this one.
        void_border (bool): Mark a border of 1 pixel between regions as 255, as VOC does.
        report (Callable[[int, int], None] | None): Called with (done, total) after each image.

    Returns:
        Path: ``out``.

    Raises:
        FileExistsError: ``out`` holds a data set of another recipe.
        ValueError: A count, the size or the number of workers is out of range.
    """
    for key, value, least in (('num_train', num_train, 0), ('num_val', num_val, 0), ('size', size, 32),
                              ('seed', seed, 0), ('workers', workers, 1)):
        if value < least:
            raise ValueError(f'{key} is {value}; it must be at least {least}')
    out = Path(out)
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    _check_recipe(out, dict(version=VERSION, size=size, seed=seed, void_border=void_border))
    jobs = [(split, index) for split, count in zip(SPLITS, (num_train, num_val)) for index in range(count)]
    write = partial(_write_image, out, size, seed, void_border)
    labels = {}
    if workers == 1:
        results = map(write, jobs)
        _collect(results, labels, len(jobs), report)
    else:
        with ProcessPoolExecutor(workers, get_context('spawn'), _start_worker) as pool:
            _collect(pool.map(write, jobs, chunksize=4), labels, len(jobs), report)
    for split in SPLITS:
        _write_sets(out, split, {name: found for name, found in labels.items() if name.startswith(split)})
    return out


def _start_worker():
    cv2.setNumThreads(1)


def _collect(results, labels, total, report):
    for done, (name, found) in enumerate(results, 1):
        labels[name] = found
        if report is not None:
            report(done, total)


def _check_recipe(out, recipe):
    """Store the recipe of a new folder; refuse to mix two."""
    path = out / RECIPE
    if not path.exists():
        if any((out / 'Annotations').iterdir()):
            raise FileExistsError(f'{out} holds annotations but no {RECIPE}: give another folder')
        _write_safely(path, (json.dumps(recipe, indent=2) + '\n').encode())
        return
    found = json.loads(path.read_text())
    if found != recipe:
        raise FileExistsError(f'{path} says {found}, asked for is {recipe}: give another folder or delete this one')


def _write_image(out, size, seed, void_border, job):
    """Write the files of one image, the annotation last, so that its presence means "complete".

    Returns:
        tuple[str, set[str]]: the image's name and its classes.
    """
    split, index = job
    name = f'{split}_{index:05d}'
    annotation = out / 'Annotations' / f'{name}.xml'
    if annotation.exists():
        return name, {found.text for found in ElementTree.parse(annotation).iter('name')}
    scene = render_scene((seed, SPLITS.index(split), index), size)
    classes = np.zeros_like(scene.instances)
    for number, label in enumerate(scene.labels):
        classes[scene.instances == number + 1] = label + 1
    objects = scene.instances
    if void_border:
        border = cv2.dilate(objects, np.ones((3, 3), np.uint8)) != cv2.erode(objects, np.ones((3, 3), np.uint8))
        classes, objects = np.where(border, 255, classes), np.where(border, 255, objects)
    bgr = np.ascontiguousarray(scene.image[..., ::-1])
    _write_safely(out / 'JPEGImages' / f'{name}.jpg',
                  cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    _write_palette(out / 'SegmentationClass' / f'{name}.png', classes)
    _write_palette(out / 'SegmentationObject' / f'{name}.png', objects)
    _write_safely(annotation, _annotation(name, size, scene))
    return name, {CLASSES[label] for label in scene.labels}


def _annotation(name, size, scene):
    """VOC's XML of one scene, as bytes."""
    root = ElementTree.Element('annotation')
    for key, text in (('folder', 'critters'), ('filename', f'{name}.jpg')):
        ElementTree.SubElement(root, key).text = text
    shape = ElementTree.SubElement(root, 'size')
    for key, value in (('width', size), ('height', size), ('depth', 3)):
        ElementTree.SubElement(shape, key).text = str(value)
    ElementTree.SubElement(root, 'segmented').text = '1'
    for label, mask in zip(scene.labels, scene.masks):
        rows, columns = np.nonzero(mask)
        entry = ElementTree.SubElement(root, 'object')
        for key, text in (('name', CLASSES[label]), ('pose', 'Unspecified'), ('truncated', '0'), ('difficult', '0')):
            ElementTree.SubElement(entry, key).text = text
        box = ElementTree.SubElement(entry, 'bndbox')
        for key, value in (('xmin', columns.min()), ('ymin', rows.min()), ('xmax', columns.max()),
                           ('ymax', rows.max())):
            ElementTree.SubElement(box, key).text = str(int(value) + 1)
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b'\n'


def _write_palette(path, indices):
    """A palette PNG, written safely."""
    image = Image.fromarray(indices.astype(np.uint8)).convert('L')
    image.putpalette(voc_palette())
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    image.save(temporary, format='PNG')
    os.replace(temporary, path)


def _write_sets(out, split, labels):
    """ImageSets of one split: names, and -1 / 1 per class."""
    names = sorted(labels)
    listing = ''.join(f'{name}\n' for name in names).encode()
    _write_safely(out / 'ImageSets/Segmentation' / f'{split}.txt', listing)
    for label in CLASSES:
        rows = ''.join(f'{name} {1 if label in labels[name] else -1:2d}\n' for name in names)
        _write_safely(out / 'ImageSets/Main' / f'{label}_{split}.txt', rows.encode())
    _write_safely(out / 'ImageSets/Main' / f'{split}.txt', listing)


def _write_safely(path, content):
    """Write bytes under a temporary name in the same folder, then rename."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    temporary.write_bytes(content)
    os.replace(temporary, path)
