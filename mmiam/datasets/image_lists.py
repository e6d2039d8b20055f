"""Lists of images, and the files that they name."""
from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

from mmiam.utils.files import read_ids


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


def refuse_missing(paths: Sequence[str], number: int, remedy: str) -> None:
    """Raise a FileNotFoundError that names the first of the missing files, of ``number`` that are needed, if any is."""
    if paths:
        raise FileNotFoundError(f'{paths[0]} does not exist ({len(paths)} of {number} files are missing); {remedy}')


def complete_prefix(data_prefix: Mapping[str, str] | None, default: Mapping[str, str]) -> dict[str, str]:
    """The folders of a data set: those that are given, and the default ones.

    Raises:
        ValueError: for a key that has no default.
    """
    unknown = set(data_prefix or ()) - set(default)
    if unknown:
        raise ValueError(f'data_prefix has no {sorted(unknown)}; its keys are {sorted(default)}')
    return {**default, **(data_prefix or {})}
