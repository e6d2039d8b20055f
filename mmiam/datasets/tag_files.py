"""Image-level tags of one's own images: one folder a class, CSV, or COCO json of which only category ids are read.

A *name* is an image's path relative to the image folder, with ``/``. Names in files are checked, so that no file can
lead out of the image folder.
"""
from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
#: in place of a file of tags: one folder a class
FOLDERS = 'folders'
#: first cells that mark the first row of a CSV file as its header
HEADERS = ('file', 'filename', 'file_name', 'image', 'path')


@dataclass
class TaggedImage:
    """Name and tags (class names, in the order found) of one image; height and width in pixels where known."""
    name: str
    tags: list[str]
    height: int | None = None
    width: int | None = None


@dataclass
class TaggedImages:
    """All images of a source, and its class names: categories in the file's order, else names in the alphabet's."""
    images: list[TaggedImage]
    classes: tuple[str, ...] = field(default=())


def read_tags(img_root: str, ann_file: str = FOLDERS) -> TaggedImages:
    """Images and tags, by what ``ann_file`` is: 'folders' (one folder a class in ``img_root``), ``*.csv``, ``*.json``.

    Raises:
        FileNotFoundError: if the image folder, the file or an image is missing.
        ValueError: if the source is malformed; the message names file, line or key, and the remedy.
    """
    if not os.path.isdir(img_root):
        raise FileNotFoundError(f'image folder {img_root} does not exist; set img_root to the folder of your images')
    if ann_file == FOLDERS:
        return read_class_folders(img_root)
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(f"{ann_file or 'file of tags'} does not exist; set ann_file to a .csv or .json file, "
                                f"or to '{FOLDERS}' for one folder a class")
    readers = {'.csv': read_csv, '.json': read_coco}
    suffix = os.path.splitext(ann_file)[1].lower()
    if suffix not in readers:
        raise ValueError(f'{ann_file}: tags are read from .csv and .json files, not from {suffix or "such"} files')
    tagged = readers[suffix](ann_file)
    missing = [image.name for image in tagged.images if not os.path.isfile(os.path.join(img_root, image.name))]
    if missing:
        raise FileNotFoundError(f'{os.path.join(img_root, missing[0])}, named in {ann_file}, does not exist '
                                f'({len(missing)} of {len(tagged.images)} images are missing); names are relative to '
                                f'img_root ({img_root})')
    return tagged


def read_class_folders(root: str) -> TaggedImages:
    """Images below ``root``, the first folder on the way to an image is its tag. Hidden files are passed over.

    Raises:
        ValueError: if there is no folder with an image, or an image lies beside the folders.
    """
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))
    loose = sorted(entry.name for entry in os.scandir(root) if _is_image(entry.name))
    images = []
    for tag in classes:
        for folder, inner, files in os.walk(os.path.join(root, tag)):
            inner[:] = sorted(name for name in inner if not name.startswith('.'))
            relative = os.path.relpath(folder, root).replace(os.sep, '/')
            images += [TaggedImage(f'{relative}/{name}', [tag]) for name in sorted(files) if _is_image(name)]
    if not images:
        raise ValueError(f'{root} has no folder with an image; make one folder a class ({root}/cat/1.jpg), or name a '
                         '.csv or .json file of tags as ann_file')
    if loose:
        raise ValueError(f'{os.path.join(root, loose[0])} lies beside the class folders ({len(loose)} such images); '
                         'move it into the folder of its class')
    used = {image.tags[0] for image in images}
    return TaggedImages(images, tuple(tag for tag in classes if tag in used))


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')


def read_csv(path: str) -> TaggedImages:
    """Rows ``file, tag, tag, …`` with comma or semicolon; a first row that begins with "file" is a header.

    Raises:
        ValueError: if the file is not UTF-8, or a row has no file, a name that leads out of the image folder, or
            one that an earlier row has.
    """
    lines: dict[str, int] = {}
    images = []
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=';' if ';' in first and ',' not in first else ',', strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or (not lines and cells[0].lower() in HEADERS):
                    continue
                where = f'{path}, line {reader.line_num}'
                name = safe_name(cells[0], where)
                if name in lines:
                    raise ValueError(f'{where}: {name!r} stands in line {lines[name]} already; write all tags of an '
                                     'image in one line')
                lines[name] = reader.line_num
                images.append(TaggedImage(name, list(dict.fromkeys(cell for cell in cells[1:] if cell))))
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text ({error}); save it as UTF-8') from error
    except csv.Error as error:
        raise ValueError(f'{path}, line {reader.line_num}: {error}; write rows of the form file,tag,tag') from error
    if not images:
        raise ValueError(f'{path} names no image; write rows of the form file,tag,tag')
    return TaggedImages(images, tuple(sorted({tag for image in images for tag in image.tags})))


def read_coco(path: str) -> TaggedImages:
    """Category ids of COCO json: of each image's ``category_ids``, of its ``annotations``, or both.

    Nothing else of an annotation is looked at, so any COCO file serves; boxes and masks stay unread.

    Raises:
        ValueError: naming the key at fault, e.g. ``annotations[3].category_id``.
    """
    content = _load_json(path)
    names = _category_names(path, content)
    images: dict[object, TaggedImage] = {}
    known: dict[str, int] = {}
    for position, item in enumerate(_items(path, content, 'images')):
        where = f'{path}: images[{position}]'
        key = item.get('id')
        if not _is_id(key) or key in images:
            raise ValueError(f'{where}.id is {key!r}; give each image an id of its own, a number or a text')
        name = safe_name(item.get('file_name'), f'{where}.file_name')
        if name in known:
            raise ValueError(f'{where}.file_name {name!r} is that of images[{known[name]}]; list an image once')
        known[name] = position
        images[key] = TaggedImage(name, [], *(_side(item.get(side)) for side in ('height', 'width')))
        given = item.get('category_ids', [])
        if not isinstance(given, list):
            raise ValueError(f'{where}.category_ids is {given!r}; it must be a list of category ids')
        for number, category in enumerate(given):
            _add(images[key], names, category, f'{where}.category_ids[{number}]')
    for position, item in enumerate(_items(path, content, 'annotations', needed=False)):
        where = f'{path}: annotations[{position}]'
        key = item.get('image_id')
        if not _is_id(key) or key not in images:
            raise ValueError(f'{where}.image_id {key!r} is not the id of an image; add the image or remove the '
                             'annotation')
        _add(images[key], names, item.get('category_id'), f'{where}.category_id')
    if not images:
        raise ValueError(f'{path}: images is empty; list the images with id and file_name')
    return TaggedImages(list(images.values()), tuple(names.values()))


def _load_json(path: str) -> dict:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:  # no json, no UTF-8, or nested without end
        raise ValueError(f'{path} is not json ({error}); export it again') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}; COCO json is an object with images and categories')
    return content


def _items(path: str, content: dict, key: str, needed: bool = True) -> list[dict]:
    items = content.get(key, None if needed else [])
    if not isinstance(items, list):
        raise ValueError(f'{path}: {key} is {"missing" if items is None else "no list"}; COCO json has a list there')
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{path}: {key}[{position}] is {item!r}; it must be an object')
    return items


def _category_names(path: str, content: dict) -> dict[object, str]:
    """Category id -> name, in the file's order."""
    names: dict[object, str] = {}
    for position, item in enumerate(_items(path, content, 'categories')):
        key, name = item.get('id'), item.get('name')
        if not _is_id(key) or key in names or not isinstance(name, str) or not name or name in names.values():
            raise ValueError(f'{path}: categories[{position}] is {item!r}; give each category an id and a name of '
                             'its own')
        names[key] = name
    if not names:
        raise ValueError(f'{path}: categories is empty; list the classes with id and name')
    return names


def _add(image: TaggedImage, names: dict, category, where: str) -> None:
    if not _is_id(category) or category not in names:
        raise ValueError(f'{where} is {category!r}, which is not the id of a category; add it to categories or '
                         'remove it')
    if names[category] not in image.tags:
        image.tags.append(names[category])


def _is_id(value) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _side(value) -> int | None:
    """A side in pixels, or None: then the image's header tells."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def safe_name(name, where: str) -> str:
    """A relative path below the image folder, in its shortest form.

    Raises:
        ValueError: for anything that is no text, is absolute or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f'{where}: {name!r} is not the name of an image file')
    clean = os.path.normpath(name.replace('\\', '/')).replace(os.sep, '/')
    if clean.startswith(('/', '~')) or clean in ('.', '..') or clean.startswith('../') or ':' in clean.split('/')[0]:
        raise ValueError(f'{where}: {name!r} leads out of the image folder; write paths relative to img_root, '
                         'without ".."')
    return clean


def class_names(img_root: str, ann_file: str = FOLDERS, chosen: Sequence[str] | str = ()) -> tuple[str, ...]:
    """Class names for a config: ``chosen`` (also as 'cat,dog') if there are any, else those of the source.

    Returns () where image folder or file do not exist, so that a config can be read without its data.
    """
    names = chosen.split(',') if isinstance(chosen, str) else chosen
    names = tuple(name.strip() for name in names if name.strip())
    if names:
        return names
    if not os.path.isdir(img_root) or not (ann_file == FOLDERS or os.path.isfile(ann_file)):
        return ()
    return read_tags(img_root, ann_file).classes
