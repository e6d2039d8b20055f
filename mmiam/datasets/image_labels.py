"""Image lists and image-level labels in VOC's layout.

An object marked as difficult (flag 0 in ``ImageSets/Main``, ``difficult`` in the xml) makes its class positive, as in
PRM's training.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from xml.etree import ElementTree

from mmiam.utils.files import read_ids, read_lines

from .image_files import is_file_name


def read_image_list(path: str) -> list[str]:
    """Read the image ids in a list file, in order; see :func:`mmiam.utils.files.read_ids` for its forms.

    An id may be any file name, but never contains a folder, so no list can lead out of the data root.

    Args:
        path (str): list file.

    Returns:
        list[str]: image ids.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has no id, an id twice, or a line that is not an id.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'image list {path} does not exist; check data_root and ann_file, or see '
                                'docs/data.md for how the lists are made')
    ids = read_ids(path)
    for image_id in ids:
        if not is_file_name(image_id):
            raise ValueError(f'{path}: {image_id!r} is not an image id; write one id a line, without folder and suffix')
    return ids


def read_objects(path: str) -> list[tuple[str, ElementTree.Element]]:
    """Read class name and element of each object in a file of ``Annotations``, but not its size, which the image has.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a well-formed VOC annotation.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise FileNotFoundError(
            f'annotation {path} does not exist; restore it, remove its id from the image list, or take the '
            "labels from ImageSets/Main (label_source='imagesets')") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # an unknown or broken encoding
        raise ValueError(f'annotation {path} is not well-formed xml ({error}); restore it') from error
    objects = [((element.findtext('name') or '').strip(), element) for element in root.findall('object')]
    for position, (name, _) in enumerate(objects, 1):
        if not name:
            raise ValueError(f'annotation {path}: object {position} has no <name>; restore the file')
    return objects


def object_box(element: ElementTree.Element, path: str) -> list[float]:
    """Read the box [x1, y1, x2, y2] of an object, in pixels.

    It counts from 0, and x2 and y2 are exclusive, whereas the xml counts from 1 and includes them.

    Raises:
        ValueError: if there is no box, or it is empty.
    """
    try:
        x1, y1, x2, y2 = (float(element.findtext(f'bndbox/{key}') or '') for key in ('xmin', 'ymin', 'xmax', 'ymax'))
    except ValueError:
        raise ValueError(f'annotation {path}: the object has no bndbox with xmin, ymin, xmax, ymax; restore the '
                         'file') from None
    if not (x1 <= x2 and y1 <= y2):
        raise ValueError(f'annotation {path}: bndbox {(x1, y1, x2, y2)} is empty; restore the file')
    return [x1 - 1, y1 - 1, x2, y2]


def labels_from_imagesets(folder: str, split: str, classes: Sequence[str],
                          image_ids: Sequence[str]) -> list[list[int]]:
    """Read image-level labels from ``<folder>/<class>_<split>.txt`` (flags 1 present, 0 difficult, -1 absent).

    Args:
        folder (str): folder ``ImageSets/Main``.
        split (str): part of the file names after the class, e.g. ``trainval``.
        classes (Sequence[str]): class names; the label is the position.
        image_ids (Sequence[str]): images to read labels for.

    Returns:
        list[list[int]]: sorted labels of each of these images.

    Raises:
        FileNotFoundError: if the file of a class is missing.
        ValueError: if a line is malformed, or one of the images is not listed.
    """
    flags = [_read_flags(os.path.join(folder, f'{name}_{split}.txt'), image_ids) for name in classes]
    return [[label for label, flag in enumerate(of_class) if flag >= 0] for of_class in zip(*flags)]


def _read_flags(path: str, image_ids: Sequence[str]) -> list[int]:
    """Read the flags of the images in the file of one class."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"class list {path} does not exist; set label_split to an existing split, or "
                                "label_source='annotations'")
    flags = {}
    for number, line in read_lines(path):
        words = line.rsplit(None, 1)  # a name may contain spaces
        if len(words) != 2 or words[1] not in ('-1', '0', '1'):
            raise ValueError(f'{path}, line {number}: {line!r}; expected an image id and -1, 0 or 1')
        flags[words[0]] = int(words[1])
    missing = [image_id for image_id in image_ids if image_id not in flags]
    if missing:
        raise ValueError(f'{path} does not list image {missing[0]!r} ({len(missing)} images missing); '
                         "set label_split to a split that covers them, or label_source='annotations'")
    return [flags[image_id] for image_id in image_ids]
