"""Image lists and image-level labels of a data set in VOC's layout.

Labels are indices into the data set's ``classes``. An object marked difficult makes its class positive, as
in PRM's training (the flag 0 of ``ImageSets/Main``; ``difficult`` in the xml).
"""
from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from mmiam.utils.files import read_ids, read_lines


@dataclass
class ImageLabels:
    """What an annotation says about one image as a whole.

    Attributes:
        labels (list[int]): Sorted class indices present.
        unknown (Counter): Objects of names that are not among the classes.
    """
    labels: list[int]
    unknown: Counter = field(default_factory=Counter)


def read_image_list(path: str) -> list[str]:
    """Image ids of a list file, in order; see :func:`mmiam.utils.files.read_ids` for its forms.

    An id never holds a folder, so no list can lead out of the data root; anything else is one.

    Args:
        path (str): The list file.

    Returns:
        list[str]: Image ids.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has no id, an id twice, or a line that is no id.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'image list {path} does not exist; check data_root and ann_file, or see '
                                'docs/data.md for how the lists are made')
    ids = read_ids(path)
    for image_id in ids:
        if not is_file_name(image_id):
            raise ValueError(f'{path}: {image_id!r} is not an image id; write one id a line, without folder and suffix')
    return ids


def is_file_name(text: str) -> bool:
    """Whether a text can be the name of a file in a folder: no folder, no control character, not '.' or '..'."""
    return (text not in ('', '.', '..') and not re.search(r'[/\\]', text)
            and not any(unicodedata.category(letter) in ('Cc', 'Cs') for letter in text))


def read_annotation(path: str) -> ElementTree.Element:
    """The root of one ``Annotations/*.xml``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no well-formed xml.
    """
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise FileNotFoundError(
            f'annotation {path} does not exist; restore it, remove its id from the image list, or take the '
            "labels from ImageSets/Main (label_source='imagesets')") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # an encoding that is unknown, or none
        raise ValueError(f'annotation {path} is not well-formed xml ({error}); restore it') from error


def labels_from_xml(path: str, classes: Sequence[str]) -> ImageLabels:
    """Image-level labels of one ``Annotations/*.xml``. Boxes are not read, nor the size: files tell theirs.

    Args:
        path (str): The annotation file.
        classes (Sequence[str]): Class names; the label is the position.

    Returns:
        ImageLabels: Labels, and how many objects had other names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no well-formed VOC annotation.
    """
    root = read_annotation(path)
    index = {name: label for label, name in enumerate(classes)}
    labels, unknown = set(), Counter()
    for position, item in enumerate(root.findall('object'), 1):
        name = (item.findtext('name') or '').strip()
        if not name:
            raise ValueError(f'annotation {path}: object {position} has no <name>; restore the file')
        if name in index:
            labels.add(index[name])
        else:
            unknown[name] += 1
    return ImageLabels(sorted(labels), unknown)


def labels_from_imagesets(folder: str, split: str, classes: Sequence[str],
                          image_ids: Sequence[str]) -> dict[str, list[int]]:
    """Image-level labels from ``<folder>/<class>_<split>.txt`` (flags 1 present, 0 difficult, -1 absent).

    Args:
        folder (str): The folder ``ImageSets/Main``.
        split (str): The part of the file names after the class, e.g. ``trainval``.
        classes (Sequence[str]): Class names; the label is the position.
        image_ids (Sequence[str]): The images wanted.

    Returns:
        dict[str, list[int]]: Sorted labels of each wanted image.

    Raises:
        FileNotFoundError: if the file of a class is missing.
        ValueError: if a line is malformed, or a wanted image is not listed.
    """
    labels: dict[str, list[int]] = {image_id: [] for image_id in image_ids}
    for label, name in enumerate(classes):
        path = os.path.join(folder, f'{name}_{split}.txt')
        flags = _read_flags(path)
        missing = [image_id for image_id in labels if image_id not in flags]
        if missing:
            raise ValueError(f'{path} does not list image {missing[0]!r} ({len(missing)} images missing); '
                             "set label_split to a split that covers them, or label_source='annotations'")
        for image_id in labels:
            if flags[image_id] >= 0:
                labels[image_id].append(label)
    return labels


def _read_flags(path: str) -> dict[str, int]:
    """Image id -> flag of one class file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"class list {path} does not exist; set label_split to an existing split, or "
                                "label_source='annotations'")
    flags = {}
    for number, line in read_lines(path):
        words = line.rsplit(None, 1)  # a name may hold blanks
        if len(words) != 2 or words[1] not in ('-1', '0', '1'):
            raise ValueError(f'{path}, line {number}: {line!r}; expected an image id and -1, 0 or 1')
        flags[words[0]] = int(words[1])
    return flags
