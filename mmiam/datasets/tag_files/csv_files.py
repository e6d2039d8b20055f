"""Tags in CSV files, as spreadsheets and other programs write them."""
from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter

from mmengine.logging import print_log

from mmiam.utils.files import read_text
from mmiam.utils.images import IMAGE_SUFFIXES

from .names import TaggedImage, TaggedImages, clean_class_name, safe_name

#: possible titles of a column of image names, or of tags, in lower case, without spaces and punctuation
NAME_COLUMNS = ('file', 'filename', 'filepath', 'path', 'image', 'imagename', 'imagepath', 'img', 'imageid', 'photo',
                'picture', 'name', 'id')
TAG_COLUMNS = ('tag', 'tags', 'label', 'labels', 'class', 'classes', 'classname', 'category', 'categories')
#: titles of row numbers, which are not classes
_COUNTERS = ('unnamed', 'id', 'imageid')
#: what programs write into an empty cell
_NOTHING = ('nan', 'null', '#n/a')
_FLAGS = {'0': False, '1': True, '0.0': False, '1.0': True, '': False, 'false': False, 'true': True}


def read_csv(path: str) -> TaggedImages:
    """Read rows of image names and tags, separated by commas, semicolons or tabs.

    Without a header, the rows are ``file, tag, tag, …``. A first row without the name of an image file is a header, of
    one of two kinds: either there is a column of tags (``TAG_COLUMNS``), whose cells may contain several tags,
    separated by ``, ; |`` or as a list that Python printed; or every class has a column of 0 and 1. Only with a column
    of tags may an image have several rows.

    Raises:
        ValueError: if the file is not text, its header is of another kind, or a row has no file name, one that leads
            out of the image folder, or one that an earlier row has already.
    """
    header, lines, rows = _read_rows(path)
    column, tagged = 0, []
    if header is None:
        tags = _tags_of_cells(path, [row[1:] for row in rows])
    else:
        column = _name_column(path, header, rows)
        tagged = [i for i, name in enumerate(header) if i != column and _key(name) in TAG_COLUMNS]
        tags = _tags_of_columns(path, header, rows, column, tagged) if tagged else \
            _tags_of_flags(path, header, lines, rows, column)
    images: dict[str, TaggedImage] = {}
    first: dict[str, int] = {}
    for line, row, found in zip(lines, rows, tags):
        name = safe_name(row[column] if column < len(row) else '', f'{path}, line {line}')
        if first.setdefault(name, line) != line and not tagged:
            raise ValueError(f'{path}, line {line}: {name!r} stands in line {first[name]} already; write all tags of '
                             'an image in one line')
        image = images.setdefault(name, TaggedImage(name, []))
        image.tags = list(dict.fromkeys(image.tags + found))
    if not images:
        raise ValueError(f'{path} names no image; write rows of the form file,tag,tag')
    return TaggedImages(list(images.values()))


def _read_rows(path: str) -> tuple[list[str] | None, list[int], list[list[str]]]:
    """Read the header (None if there is none), and line numbers and cells of all other rows that are not empty."""
    text = read_text(path)
    first = text.partition('\n')[0]
    delimiter = next(iter(re.findall('[,;\t]', re.sub('"[^"]*"', '', first))), ',')  # the first unquoted one
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    lines, rows = [], []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                lines.append(reader.line_num)
                rows.append(cells)
    except csv.Error as error:
        raise ValueError(f'{path}, line {reader.line_num}: {error}; write rows of the form file,tag,tag') from error
    if rows and not any(map(_is_image, rows[0])):
        return rows[0], lines[1:], rows[1:]
    return None, lines, rows


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(IMAGE_SUFFIXES)


def _key(name: str) -> str:
    """Return the title of a column in lower case, without spaces, punctuation and digits."""
    return re.sub(r'[\W\d_]', '', name.lower())


def _name_column(path: str, header: list[str], rows: list[list[str]]) -> int:
    """Find the column of image names: by title and content, or else by content alone, or else by title alone."""
    images = [i for i in range(len(header)) if rows and all(i < len(row) and _is_image(row[i]) for row in rows)]
    called = sorted((i for i, name in enumerate(header) if _key(name) in NAME_COLUMNS),
                    key=lambda i: (i not in images, NAME_COLUMNS.index(_key(header[i]))))
    if called and called[0] in images:
        return called[0]
    if len(images) > 1:
        raise ValueError(f'{path}: columns {[header[i] for i in images]} of the header {header} hold names of images; '
                         'call the one that is meant "file"')
    if not images and not called:
        raise ValueError(f'{path}: the first row, {header}, is neither an image with its tags nor a header with a '
                         'column of file names; call that column "file"')
    return (images or called)[0]


def _tags_of_columns(path: str, header: list[str], rows: list[list[str]], column: int,
                     tagged: list[int]) -> list[list[str]]:
    """Read the tags of each row in the columns of tags; cells beyond the header are further tags."""
    tags = _tags_of_cells(path, [[row[i] for i in tagged if i < len(row)] + row[len(header):] for row in rows])
    others = [name for i, name in enumerate(header) if i != column and i not in tagged and name]
    if others:
        print_log(f'{path}: tags are in {[header[i] for i in tagged]}, names in {header[column]!r}; not read: '
                  f'{others}', logger='current')
    return tags


def _tags_of_cells(path: str, rows: list[list[str]]) -> list[list[str]]:
    """Read the tags in cells that contain nothing else."""
    cells = [cell for row in rows for cell in row]
    if any(cells) and all(cell.lower() in _FLAGS for cell in cells):
        raise ValueError(f'{path}: all tags are 0 or 1; name the classes: as tags, or in a header with a column for '
                         'each class (file,cat,dog)')
    nothing = [cell for cell in cells if cell.lower() in _NOTHING]
    if nothing:
        raise ValueError(f'{path}: {nothing[0]!r} stands where tags do, and is no tag; leave the cell empty')
    columns = list(itertools.zip_longest(*rows, fillvalue=''))
    # next to names, a column of numbers must contain boxes, confidences or class indices
    numbers = [column for column in columns if all(re.fullmatch(r'[-+]?[\d.]+', cell) for cell in column)]
    if 0 < len(numbers) < len(columns):
        raise ValueError(f'{path}: {numbers[0][0]!r} stands where tags do, and the whole column has numbers; leave '
                         'them out, or give a header with a column "tags"')
    return [[tag for cell in row for tag in _split(cell)] for row in rows]


def _split(cell: str) -> list[str]:
    """Split a cell into tags: at , ; | or line breaks, perhaps inside a list, tuple or set as Python prints it."""
    if re.fullmatch(r'\[.*\]|[({]\s*([\'"]).*\1\s*,?\s*[)}]', cell, re.DOTALL):
        cell = cell[1:-1]
        quoted = re.findall(r'([\'"])(.*?)\1(?=[\s,;|]|$)', cell, re.DOTALL)  # NumPy puts spaces between them
        cell = '\n'.join(text for _, text in quoted) if quoted else cell
    return [tag for tag in map(clean_class_name, re.split(r'[,;|\n\r]', cell)) if tag]


def _tags_of_flags(path: str, header: list[str], lines: list[int], rows: list[list[str]],
                   column: int) -> list[list[str]]:
    """Read the tags of each row, with a column of 0 and 1 for every class."""
    # further columns of names are not classes, but "photo" above 0 and 1 is one
    classes = {i: clean_class_name(name) for i, name in enumerate(header)
               if name and i != column and _key(name) not in _COUNTERS and (
                   _key(name) not in NAME_COLUMNS or all(row[i].lower() in _FLAGS for row in rows if i < len(row)))}
    twice = [name for name, number in Counter(classes.values()).items() if number > 1]
    if twice:
        raise ValueError(f'{path}: the header {header} has the column {twice[0]!r} twice; keep one')
    for line, row in zip(lines, rows):
        for i, cell in enumerate(row):
            if i >= len(header) or i in classes and cell.lower() not in _FLAGS:
                raise ValueError(
                    f'{path}, line {line}: {cell!r} in column {header[i] if i < len(header) else "none"!r} of the '
                    f'header {header}, which has neither a column of tags ("tags", "label" or "class") nor only '
                    'columns of 0 and 1, one a class')
    return [[name for i, name in classes.items() if i < len(row) and _FLAGS[row[i].lower()]] for row in rows]
