"""Image-level tags of one's own images: one folder a class, CSV, or COCO json of which only category ids are read.

A *name* is an image's path relative to the image folder, with ``/``. Names in files are checked, so that no file can
lead out of the image folder. Blanks around a class name are no part of it, and an é is one letter, however it was
written; a name in a file is found on the disk in either form.
"""
from __future__ import annotations

import csv
import io
import itertools
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mmengine.logging import print_log
from pooch import file_hash

from mmiam.utils.files import file_stamp, read_json, read_text
from mmiam.utils.images import IMAGE_SUFFIXES, list_images

from .image_labels import is_file_name

#: in place of a file of tags: one folder a class
FOLDERS = 'folders'
#: what a CSV's column of image names or of tags may be called, without case, blanks and punctuation
NAME_COLUMNS = ('file', 'filename', 'filepath', 'path', 'image', 'imagename', 'imagepath', 'img', 'imageid', 'photo',
                'picture', 'name', 'id')
TAG_COLUMNS = ('tag', 'tags', 'label', 'labels', 'class', 'classes', 'classname', 'category', 'categories')
#: what programs write for a cell without content
_NOTHING = ('nan', 'null', '#n/a')
#: names of parts of a data set, which are no classes
_PARTS = {'train', 'training', 'val', 'valid', 'validation', 'trainval', 'test', 'testing'}
_INVISIBLE = '\u200b\u200c\u200d\u2060\ufeff'
_FLAGS = {'0': False, '1': True, '0.0': False, '1.0': True, '': False, 'false': False, 'true': True}


@dataclass
class TaggedImage:
    """Name and tags (class names, in the order found) of one image; ``source_id`` is that of COCO json, as it
    stands there."""
    name: str
    tags: list[str]
    source_id: int | float | str | None = None


@dataclass
class TaggedImages:
    """All images of a source, and its class names: categories in the file's order, else names in the alphabet's.

    ``category_ids`` holds the id of each class in COCO json, as it stands there.
    """
    images: list[TaggedImage]
    classes: tuple[str, ...] = field(default=())
    category_ids: dict[str, int | float | str] = field(default_factory=dict)


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
    missing = []
    for image in tagged.images:
        stored = _as_stored(img_root, image.name)
        if stored is None:
            missing.append(image.name)
        else:
            image.name = stored
    if missing:
        raise FileNotFoundError(f'{os.path.join(img_root, missing[0])}, named in {ann_file}, does not exist '
                                f'({len(missing)} of {len(tagged.images)} images are missing); names are relative to '
                                f'img_root ({img_root})')
    twice = [name for name, number in Counter(image.name for image in tagged.images).items() if number > 1]
    if twice:
        raise ValueError(f'{ann_file} names {twice[0]!r} twice, in two forms of its letters; keep one')
    _check_classes(ann_file, tagged.classes)
    return tagged


def _check_classes(source: str, classes: Sequence[str]) -> None:
    """Refuse names that no picture or file could show; say which differ in case alone."""
    broken = [name for name in classes if any(unicodedata.category(letter) in ('Cc', 'Cs') for letter in name)]
    if broken:
        raise ValueError(f'{source}: the class {broken[0]!r} has letters that are none; give it another name')
    alike = [name for name, count in Counter(map(str.casefold, classes)).items() if count > 1]
    if alike:
        print_log(f'{source}: classes that differ in case alone are different ones: '
                  f'{[name for name in classes if name.casefold() == alike[0]]}; write them alike if they are one',
                  logger='current', level=logging.WARNING)


def read_class_folders(root: str) -> TaggedImages:
    """Images below ``root``, the first folder on the way to an image is its tag. See :func:`list_images` for links.

    Raises:
        ValueError: if there is no folder, one without an image, or an image beside the folders.
    """
    names = list_images(root, recursive=True)
    loose = [name for name in names if '/' not in name]
    folders = sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith('.') and (
        os.path.isdir(entry.path) or not os.path.exists(entry.path) and '.' not in entry.name))  # a link to nowhere
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
    images = [TaggedImage(name, [_class_name(name.split('/')[0])]) for name in names]
    classes = tuple(sorted({image.tags[0] for image in images}))
    _check_classes(root, classes)
    return TaggedImages(_one_of_equal_files(images, root), classes)


def _one_of_equal_files(images: list[TaggedImage], root: str) -> list[TaggedImage]:
    """A photo that lies in the folders of several classes once, with all their tags; it would contradict itself."""
    stamps = [file_stamp(os.path.join(root, image.name)) for image in images]
    sizes = [stamp[0] if stamp else 0 for stamp in stamps]  # 0: a link to nowhere
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


def read_csv(path: str) -> TaggedImages:
    """Rows of image names and tags, separated by comma, semicolon or tab.

    Without header the rows are ``file, tag, tag, …``. A first row without the name of an image file is a header, of
    one of two forms: a column of tags (``TAG_COLUMNS``), whose cells may hold several, separated by ``, ; |``, or as
    the list that Python prints; or a column a class of 0 and 1. An image may have several rows with a column of tags.

    Raises:
        ValueError: if the file is no text, its header is of another form, or a row has no file, a name that leads out
            of the image folder, or one that an earlier row has.
    """
    header, rows = _csv_rows(path)
    column, tags_of, several_rows = _csv_layout(path, header, rows)
    images: dict[str, TaggedImage] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        name = safe_name(row[column] if column < len(row) else '', f'{path}, line {line}')
        if lines.setdefault(name, line) != line and not several_rows:
            raise ValueError(f'{path}, line {line}: {name!r} stands in line {lines[name]} already; write all tags of '
                             'an image in one line')
        tags = images.setdefault(name, TaggedImage(name, [])).tags
        tags += [tag for tag in dict.fromkeys(tags_of(row)) if tag not in tags]
    if not images:
        raise ValueError(f'{path} names no image; write rows of the form file,tag,tag')
    return TaggedImages(list(images.values()), tuple(sorted({tag for image in images.values() for tag in image.tags})))


def _csv_rows(path: str) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """The header, if there is one, and (line, cells) of all other rows that are not empty."""
    text = read_text(path)
    first = text.partition('\n')[0]
    delimiter = next(iter(re.findall('[,;\t]', re.sub('"[^"]*"', '', first))), ',')  # the first that is not quoted
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    rows = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f'{path}, line {reader.line_num}: {error}; write rows of the form file,tag,tag') from error
    if rows and not any(map(_is_image, rows[0][1])):
        return rows[0][1], rows[1:]
    return None, rows


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(IMAGE_SUFFIXES)


def _csv_layout(path: str, header: list[str] | None, rows: list[tuple[int, list[str]]]
                ) -> tuple[int, Callable[[list[str]], list[str]], bool]:
    """Position of the image's name in a row, what gives the tags of a row, and whether an image may have several."""
    if header is None:
        _refuse_flags(path, [cell for _, row in rows for cell in row[1:]])
        _refuse_numbers(path, [row[1:] for _, row in rows])
        return 0, lambda row: [tag for cell in row[1:] for tag in _split(cell)], False
    keys = [re.sub(r'[\W\d_]', '', cell.lower()) for cell in header]
    columns = range(len(header))
    images = [i for i in columns if rows and all(i < len(row) and _is_image(row[i]) for _, row in rows)]
    names = sorted((i for i in columns if keys[i] in NAME_COLUMNS),
                   key=lambda i: (i not in images, NAME_COLUMNS.index(keys[i])))
    named = names[:1] if names and names[0] in images else []
    if len(images) > 1 and not named:
        raise ValueError(f'{path}: columns {[header[i] for i in images]} of the header {header} hold names of images; '
                         'call the one that is meant "file"')
    names = named or images or names
    if not names:
        raise ValueError(f'{path}: the first row, {header}, is neither an image with its tags nor a header with a '
                         'column of file names; call that column "file"')
    column = names[0]
    tagged = [i for i in columns if i != column and keys[i] in TAG_COLUMNS]
    if tagged:
        def cells(row: list[str]) -> list[str]:  # cells beyond the header's are further tags
            return [row[i] for i in (*tagged, *range(len(header), len(row))) if i < len(row)]

        _refuse_flags(path, [cell for _, row in rows for cell in cells(row)])
        _refuse_numbers(path, [cells(row) for _, row in rows])
        others = [header[i] for i in columns if i != column and i not in tagged and header[i]]
        if others:
            print_log(f'{path}: tags are in {[header[i] for i in tagged]}, names in {header[column]!r}; not read: '
                      f'{others}', logger='current')
        return column, lambda row: [tag for cell in cells(row) for tag in _split(cell)], True
    flags = [all(row[i].lower() in _FLAGS for _, row in rows if i < len(row)) for i in columns]
    # numbers of rows and further names are no classes, but "photo" over 0 and 1 is one
    classes = [i for i in columns if i != column and header[i] and keys[i] not in ('unnamed', 'id', 'imageid')
               and (flags[i] or keys[i] not in NAME_COLUMNS)]
    called = {i: _class_name(header[i]) for i in classes}
    twice = [name for name, number in Counter(called.values()).items() if number > 1]
    if twice:
        raise ValueError(f'{path}: the header {header} has the column {twice[0]!r} twice; keep one')
    for line, row in rows:
        wrong = [i for i in range(len(row)) if i >= len(header) or i in classes and row[i].lower() not in _FLAGS]
        if wrong:
            name = header[wrong[0]] if wrong[0] < len(header) else 'none'
            raise ValueError(f'{path}, line {line}: {row[wrong[0]]!r} in column {name!r} of the header {header}, which '
                             'has neither a column of tags ("tags", "label" or "class") nor only columns of 0 and 1, '
                             'one a class')
    return column, lambda row: [name for i, name in called.items() if i < len(row) and _FLAGS[row[i].lower()]], False


def _split(cell: str) -> list[str]:
    """Tags in a cell: separated by , ; | or new lines, perhaps as Python prints a list, a tuple or a set."""
    if re.fullmatch(r'\[.*\]|[({]\s*([\'"]).*\1\s*,?\s*[)}]', cell, re.DOTALL):
        cell = cell[1:-1]
        quoted = re.findall(r'([\'"])(.*?)\1(?=[\s,;|]|$)', cell, re.DOTALL)  # NumPy has blanks between them
        cell = '\n'.join(text for _, text in quoted) if quoted else cell
    parts = map(_class_name, re.split(r'[,;|\n\r]', cell))
    return [tag for tag in parts if tag]


def _class_name(text: str) -> str:
    """Without blanks around it, composed: é is one letter or two, by the system that wrote it."""
    return unicodedata.normalize('NFC', text.strip().strip(_INVISIBLE).strip())


def _as_stored(img_root: str, name: str) -> str | None:
    """A name as the disk has it, which may write é as one letter or as two; None if there is no such file."""
    forms = dict.fromkeys((name, unicodedata.normalize('NFC', name), unicodedata.normalize('NFD', name)))
    return next((form for form in forms if os.path.isfile(os.path.join(img_root, form))), None)


def _refuse_flags(path: str, cells: list[str]) -> None:
    if any(cells) and all(cell.lower() in _FLAGS for cell in cells):
        raise ValueError(f'{path}: all tags are 0 or 1; name the classes: as tags, or in a header with a column for '
                         'each class (file,cat,dog)')
    nothing = [cell for cell in cells if cell.lower() in _NOTHING]
    if nothing:
        raise ValueError(f'{path}: {nothing[0]!r} stands where tags do, and is no tag; leave the cell empty')


def _refuse_numbers(path: str, rows: list[list[str]]) -> None:
    """A column of numbers beside names is one of boxes, confidences or indices of classes."""
    columns = list(itertools.zip_longest(*rows, fillvalue=''))
    numbers = [all(re.fullmatch(r'[-+]?[\d.]+', cell) for cell in column) for column in columns]
    if any(numbers) and not all(numbers):
        raise ValueError(f'{path}: {columns[numbers.index(True)][0]!r} stands where tags do, and the whole column has '
                         'numbers; leave them out, or give a header with a column "tags"')


def read_coco(path: str) -> TaggedImages:
    """Category ids of COCO json: of each image's ``category_ids``, of its ``annotations``, or both.

    Nothing else of an annotation is looked at, so any COCO file serves; boxes and masks stay unread. An id may be a
    number in one list and a text in another.

    Raises:
        ValueError: naming the key at fault, e.g. ``annotations[3].category_id``.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}; COCO json is an object with images and categories')
    categories: dict[str, dict] = {}
    for position, item in enumerate(_items(path, content, 'categories')):
        key, name = _key(item.get('id')), item.get('name')
        name = _class_name(name) if isinstance(name, str) else ''
        if key is None or key in categories or not name or any(name == one['name'] for one in categories.values()):
            raise ValueError(f'{path}: categories[{position}] is {item!r}; give each category an id and a name of '
                             'its own (1 and "1" are one id)')
        categories[key] = dict(id=item['id'], name=name)
    if not categories:
        raise ValueError(f'{path}: categories is empty; list the classes with id and name')
    images: dict[str, TaggedImage] = {}
    known: dict[str, int] = {}
    for position, item in enumerate(_items(path, content, 'images')):
        where = f'{path}: images[{position}]'
        key = _key(item.get('id'))
        if key is None or key in images:
            raise ValueError(f'{where}.id is {item.get("id")!r}; give each image an id of its own, a whole number or a '
                             'text (1 and "1" are one id)')
        name = safe_name(item.get('file_name'), f'{where}.file_name')
        if name in known:
            raise ValueError(f'{where}.file_name {name!r} is that of images[{known[name]}]; list an image once')
        known[name] = position
        images[key] = TaggedImage(name, [], item['id'])
        given = item.get('category_ids', [])
        if not isinstance(given, list):
            raise ValueError(f'{where}.category_ids is {given!r}; it must be a list of category ids')
        for number, category in enumerate(given):
            _add(images[key], categories, category, f'{where}.category_ids[{number}]')
    for position, item in enumerate(_items(path, content, 'annotations', needed=False)):
        where = f'{path}: annotations[{position}]'
        image = images.get(_key(item.get('image_id')))  # type: ignore[arg-type]
        if image is None:
            raise ValueError(f'{where}.image_id {item.get("image_id")!r} is not the id of an image; add the image or '
                             'remove the annotation')
        _add(image, categories, item.get('category_id'), f'{where}.category_id')
    if not images:
        raise ValueError(f'{path}: images is empty; list the images with id and file_name')
    return TaggedImages(list(images.values()), tuple(one['name'] for one in categories.values()),
                        {one['name']: one['id'] for one in categories.values()})


def _items(path: str, content: dict, key: str, needed: bool = True) -> list[dict]:
    items = content.get(key, None if needed else [])
    if not isinstance(items, list):
        raise ValueError(f'{path}: {key} is {"missing" if items is None else "no list"}; COCO json has a list there')
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{path}: {key}[{position}] is {item!r}; it must be an object')
    return items


def _key(value) -> str | None:
    """What an id is found by, or None: converters write 1, "1" and 1.0 for the same one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _add(image: TaggedImage, categories: dict[str, dict], category, where: str) -> None:
    found = categories.get(_key(category))  # type: ignore[arg-type]
    if found is None:
        raise ValueError(f'{where} is {category!r}, which is not the id of a category; add it to categories or '
                         'remove it')
    if found['name'] not in image.tags:
        image.tags.append(found['name'])


def safe_name(name, where: str) -> str:
    """A relative path below the image folder, in its shortest form. Any name that stays inside is one.

    Raises:
        ValueError: for anything that is no text, has control characters, is absolute or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'{where}: {name!r} is not the name of an image file')
    clean = os.path.normpath(name.replace('\\', '/')).replace(os.sep, '/')
    parts = clean.split('/')
    if parts[0] in ('', '.', '..') or re.match(r'[A-Za-z]:[\\/]|[A-Za-z][\w+.-]*://', name):
        raise ValueError(f'{where}: {name!r} leads out of the image folder; write paths relative to img_root, '
                         'without ".."')
    if not all(map(is_file_name, parts)):
        raise ValueError(f'{where}: {name!r} is not the name of an image file')
    return clean


def class_names(img_root: str, ann_file: str = FOLDERS, chosen: Sequence[str] | str = ()) -> tuple[str, ...]:
    """Class names for a config: ``chosen`` (also as 'cat,dog') if there are any, else those of the source.

    Returns () where image folder or file do not exist, so that a config can be read without its data.
    """
    names = chosen.split(',') if isinstance(chosen, str) else chosen
    names = tuple(_class_name(name) for name in names if name.strip())
    if names:
        return names
    if not os.path.isdir(img_root) or not (ann_file == FOLDERS or os.path.isfile(ann_file)):
        return ()
    return read_tags(img_root, ann_file).classes
