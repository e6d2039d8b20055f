"""One entry point for all sources of tags, and the simplest source: one folder per class."""
from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence

from mmengine.logging import print_log
from pooch import file_hash

from mmiam.utils.files import file_stamp
from mmiam.utils.images import IMAGE_SUFFIXES, list_images

from ..image_files import refuse_missing
from .coco_json import read_coco
from .csv_files import read_csv
from .names import TaggedImage, TaggedImages, clean_class_name

#: stands for one folder per class, in place of a file of tags
FOLDERS = 'folders'
READERS = {'.csv': read_csv, '.json': read_coco}
#: names for parts of a data set, which are not classes
_PARTS = {'train', 'training', 'val', 'valid', 'validation', 'trainval', 'test', 'testing'}


def read_tags(img_root: str, ann_file: str = FOLDERS) -> TaggedImages:
    """Read images and their tags from a ``*.csv`` or ``*.json`` file, or from folders.

    Args:
        img_root (str): image folder.
        ann_file (str): file of tags, or 'folders' for one folder per class in ``img_root``.

    Raises:
        FileNotFoundError: if the image folder, the file or an image is missing.
        ValueError: if the source is malformed; names file, line or key, and the remedy.
    """
    if not os.path.isdir(img_root):
        raise FileNotFoundError(f'image folder {img_root} does not exist; set img_root to the folder of your images')
    if ann_file == FOLDERS:
        return read_class_folders(img_root)
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(f"{ann_file or 'file of tags'} does not exist; set ann_file to a .csv or .json file, "
                                f"or to '{FOLDERS}' for one folder a class")
    suffix = os.path.splitext(ann_file)[1].lower()
    if suffix not in READERS:
        raise ValueError(f'{ann_file}: tags are read from .csv and .json files, not from {suffix or "such"} files')
    tagged = READERS[suffix](ann_file)
    stored = [_as_stored(img_root, image.name) for image in tagged.images]
    refuse_missing([os.path.join(img_root, image.name) for image, name in zip(tagged.images, stored) if name is None],
                   len(stored), f'names in {ann_file} are relative to img_root ({img_root})')
    for image, name in zip(tagged.images, stored):
        image.name = name  # type: ignore[assignment]
    twice = [name for name, number in Counter(stored).items() if number > 1]
    if twice:
        raise ValueError(f'{ann_file} names {twice[0]!r} twice, in two forms of its letters; keep one')
    _check_classes(ann_file, tagged.classes)
    return tagged


def _as_stored(img_root: str, name: str) -> str | None:
    """Return a name in the form that is on disk, where é may be one character or two; None if there is no such file."""
    forms = dict.fromkeys((name, unicodedata.normalize('NFC', name), unicodedata.normalize('NFD', name)))
    return next((form for form in forms if os.path.isfile(os.path.join(img_root, form))), None)


def _check_classes(source: str, classes: Sequence[str]) -> None:
    """Refuse names that no picture or file could show; warn of names that differ only in case."""
    broken = [name for name in classes if any(unicodedata.category(letter) in ('Cc', 'Cs') for letter in name)]
    if broken:
        raise ValueError(f'{source}: the class {broken[0]!r} has letters that are none; give it another name')
    alike = [name for name, count in Counter(map(str.casefold, classes)).items() if count > 1]
    if alike:
        print_log(f'{source}: classes that differ in case alone are different ones: '
                  f'{[name for name in classes if name.casefold() == alike[0]]}; write them alike if they are one',
                  logger='current', level=logging.WARNING)


def read_class_folders(root: str) -> TaggedImages:
    """Read the images below ``root``; the first folder on the way to an image is its tag.

    For links see :func:`list_images`.

    Raises:
        ValueError: if there is no folder, a folder has no image, an image lies beside the folders, or the folders are
            parts of a data set ('train', 'test', ...).
    """
    names = list_images(root, recursive=True)
    loose = [name for name in names if '/' not in name]
    folders = sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith('.') and (
        os.path.isdir(entry.path) or not os.path.exists(entry.path) and '.' not in entry.name))  # a broken link
    if not folders or not names:
        raise ValueError(f'{root} has no folder with an image; make one folder a class ({root}/cat/1.jpg), or name a '
                         '.csv or .json file of tags as ann_file')
    if loose:
        raise ValueError(f'{os.path.join(root, loose[0])} lies beside the class folders ({len(loose)} such images); '
                         'move it into the folder of its class')
    empty = sorted(set(folders) - {name.split('/')[0] for name in names})
    if empty:
        raise ValueError(f'class folder {os.path.join(root, empty[0])} has no image ({", ".join(IMAGE_SUFFIXES)}; '
                         f'{len(empty)} such folders); convert its files to one of these, or remove the folder')
    if _PARTS.issuperset(map(str.lower, folders)):
        raise ValueError(f'{root} has the folders {", ".join(folders)}, which are parts of a data set and no classes; '
                         f'name one of them ({os.path.join(root, folders[0])}), with one folder a class')
    tagged = TaggedImages([TaggedImage(name, [clean_class_name(name.split('/')[0])]) for name in names])
    _check_classes(root, tagged.classes)
    tagged.images = _one_of_equal_files(tagged.images, root)
    return tagged


def _one_of_equal_files(images: list[TaggedImage], root: str) -> list[TaggedImage]:
    """Merge equal files in the folders of several classes into one with all tags; otherwise they would contradict."""
    stamps = [file_stamp(os.path.join(root, image.name)) for image in images]
    sizes = [stamp[0] if stamp else 0 for stamp in stamps]  # 0: a broken link
    shared = {size for size, count in Counter(sizes).items() if size and count > 1}
    first: dict[str, TaggedImage] = {}
    kept, merged = [], []
    for image, size in zip(images, sizes):
        key = file_hash(os.path.join(root, image.name)) if size in shared else image.name
        other = first.setdefault(key, image)
        if image.tags[0] in other.tags:
            kept.append(image)
        else:
            other.tags += image.tags
            merged.append(f'{other.name} = {image.name}')
    if merged:
        print_log(f'{root}: {len(merged)} photos lie in several class folders, and each counts once, with all tags: '
                  + ', '.join(merged[:3]) + (', …' if len(merged) > 3 else ''), logger='current')
    return kept


def class_names(img_root: str, ann_file: str = FOLDERS, chosen: Sequence[str] | str = ()) -> tuple[str, ...]:
    """Return the class names for a config: those ``chosen`` (also as 'cat,dog') if any, or else those of the source.

    If image folder or file do not exist, the result is (), so that a config can be read without its data.
    """
    names = chosen.split(',') if isinstance(chosen, str) else chosen
    names = tuple(clean_class_name(name) for name in names if name.strip())
    if names:
        return names
    if not os.path.isdir(img_root) or not (ann_file == FOLDERS or os.path.isfile(ann_file)):
        return ()
    return read_tags(img_root, ann_file).classes
