"""Image lists and image-level labels of a data set in VOC's layout.

Labels are indices into the data set's ``classes``. An object marked difficult makes its class positive, as
in PRM's training (the flag 0 of ``ImageSets/Main``; ``difficult`` in the xml).
"""
from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

_ID = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]*')
_SBD_PAIR = re.compile(r'/?JPEGImages/([^/\s]+)\.\w+')


@dataclass
class ImageLabels:
    """What an annotation says about one image as a whole.

    Attributes:
        labels (list[int]): Sorted class indices present.
        height (int | None): Height in pixels, None where the annotation does not state it.
        width (int | None): Width in pixels, or None.
        unknown (Counter): Objects of names that are not among the classes.
    """
    labels: list[int]
    height: int | None = None
    width: int | None = None
    unknown: Counter = field(default_factory=Counter)


def read_image_list(path: str) -> list[str]:
    """Image ids of a list file, one a line, in order.

    Lines of the form ``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``, in which some
    train_aug lists come, give the id only. An id never holds a folder, so no list can lead out of the data
    root.

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
    ids = []
    for number, words in read_lines(path):
        pair = _SBD_PAIR.fullmatch(words[0])
        image_id = pair.group(1) if pair else words[0]
        if not _ID.fullmatch(image_id) or (len(words) > 1 and not pair):
            raise ValueError(f'{path}, line {number}: {" ".join(words)!r} is not an image id; write one id '
                             'a line, without folder and suffix')
        ids.append(image_id)
    if not ids:
        raise ValueError(f'image list {path} holds no image id; write one id a line')
    twice = [image_id for image_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f'{path} lists {twice[0]!r} more than once ({len(twice)} such ids); remove the '
                         'repetitions')
    return ids


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
    """Image-level labels and image size of one ``Annotations/*.xml``. Boxes are not read.

    Args:
        path (str): The annotation file.
        classes (Sequence[str]): Class names; the label is the position.

    Returns:
        ImageLabels: Labels, size, and how many objects had other names.

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
    height, width = (_positive_int(root.findtext(f'size/{key}')) for key in ('height', 'width'))
    return ImageLabels(sorted(labels), height, width, unknown)


def _positive_int(text: str | None) -> int | None:
    """``text`` as an int above 0, or None: sizes of 0 stand in some annotations for 'unknown'."""
    try:
        value = int(float(text))
    except (TypeError, ValueError, OverflowError):
        return None
    return value if value > 0 else None


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
    for number, words in read_lines(path):
        if len(words) != 2 or words[1] not in ('-1', '0', '1'):
            raise ValueError(f'{path}, line {number}: {" ".join(words)!r}; expected an image id and -1, 0 or 1')
        flags[words[0]] = int(words[1])
    return flags


def read_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """(number from 1, words) of each line of a text file that is not blank."""
    try:
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                if line.split():
                    yield number, line.split()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no text in UTF-8 ({error}); restore it') from error
